"""What is done once between the servers' start and the workers': `python -m deploy.steps NAME STATE_DIR`.

Each runs in a process of its own, so that the supervisor never holds the libraries that they need. Doing one again
changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from deploy.stack.mlflow import DATABASE as MLFLOW_DATABASE
from deploy.stack.postgres import REGISTRY_DATABASE
from deploy.stack.rights import RIGHTS
from deploy.stack.running import NotRunning, RunningStack, open_stack
from deploy.stack.state import DATABASE
from streams.topics import PUBLIC_DAYS
from streams.units import DAY_MS


def databases(stack: RunningStack) -> None:
    """One database for the modules, and one for the registry, which only its own role can enter."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(stack.dsn("postgres", "postgres"), autocommit=True, connect_timeout=10) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    _of_its_own(stack, REGISTRY_DATABASE)


def mlflow(stack: RunningStack) -> None:
    """MLflow's database, likewise."""
    _of_its_own(stack, MLFLOW_DATABASE)


def _of_its_own(stack: RunningStack, name: str) -> None:
    """A database that only the role of the same name can enter."""
    import psycopg
    from psycopg import sql

    named = sql.Identifier(name)
    with psycopg.connect(stack.dsn("postgres", "postgres"), autocommit=True, connect_timeout=10) as connection:
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
        verb = sql.SQL("ALTER" if known else "CREATE")
        connection.execute(
            sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, named, sql.Literal(stack.passwords[name]))
        )
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(named, named))
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(named))


def kek(stack: RunningStack) -> None:
    """The first key-encryption key of people's keys."""
    _first_key(stack.kek_dir)


def vault(stack: RunningStack) -> None:
    """And of connections' keys."""
    _first_key(stack.vault_dir)


def _first_key(folder: Path) -> None:
    from connectors.key_files import KeyFiles

    files = KeyFiles(folder)
    if not files.ids():
        files.make()


def migrate(stack: RunningStack) -> None:
    """Schemas, tables, roles and their passwords in PostgreSQL."""
    from connectors.postgres.migrate import migrate as upgrade

    upgrade(stack.dsn("postgres"), stack.passwords)


def topics(stack: RunningStack) -> None:
    """The topics, with exactly the settings of streams/topics.py; on a secure stack users and their rights before them."""
    from deploy.stack.topics import ensure_topics

    cluster = stack.as_admin.cluster
    if stack.secured is not None:
        from deploy.stack.users import ensure_rights, ensure_users

        ensure_users(cluster, {role: stack.secured.kafka[role] for role in RIGHTS})
        ensure_rights(cluster)
    replication, days = _number("OO_TOPIC_REPLICATION", 1, most=99), _number("OO_PUBLIC_DAYS", PUBLIC_DAYS, most=3650)
    ensure_topics(cluster, replication=replication, public_ms=days * DAY_MS)


def _number(name: str, default: int, *, most: int) -> int:
    """Read a whole number from the environment; raises NotRunning for what is none."""
    told = os.environ.get(name) or str(default)
    if not (told.isascii() and told.isdecimal() and 1 <= int(told) <= most):
        raise NotRunning(f"{name} is {told!r}: write a whole number from 1 to {most}")
    return int(told)


def schemas(stack: RunningStack) -> None:
    """The schemas of all topics; an incompatible one is refused here, before anything runs."""
    from streams.schemas import Schemas

    found = Schemas(stack.cluster)
    asyncio.run(found.register())
    found.keep(stack.folder.schemas_file)


def demo(stack: RunningStack) -> None:
    """Sample tasks and appointments for the demo user where nobody has sent anything yet, and the first tip from them."""
    asyncio.run(_demo(stack))


async def _demo(stack: RunningStack) -> None:
    from deploy.demo import lay_out
    from deploy.imports import PersonZone, import_files, now_utc
    from deploy.machine_zone import machine_zone
    from deploy.stack.groups import view
    from deploy.stack.running import LOCAL_USER

    seen = await asyncio.to_thread(view, stack.cluster)
    # Not the journal: it has the policy's marks from the first moment on.
    entrances = {stack.cluster.name(name) for name in ("signals", "reactions")}
    if any(offsets.end > 0 for (topic, _), offsets in seen.offsets.items() if topic in entrances):
        return
    now = now_utc()
    files = lay_out(stack.folder.root / "demo", today=now.astimezone().date())
    zone = await PersonZone.of(None, machine=machine_zone(), user_id=LOCAL_USER, stack=stack)
    await import_files(files, user_id=LOCAL_USER, stack=stack, zone=zone, now=now)
    await _first_tip(stack.valkey_url, LOCAL_USER)


async def _first_tip(valkey_url: str, user: str) -> None:
    """Returns when the user has a tip, or after a while without: then there is nothing to say now."""
    from connectors.valkey import TipStore

    store = TipStore(valkey_url)
    for _ in range(100):
        if await store.read(user) is not None:
            break
        await asyncio.sleep(0.1)
    await store.close()


STEPS = {
    "demo": demo,
    "databases": databases,
    "kek": kek,
    "vault": vault,
    "migrate": migrate,
    "mlflow-database": mlflow,
    "topics": topics,
    "schemas": schemas,
}


def main() -> int:
    """Runs one step; 1 and a line on standard error when it fails, the traceback in the part's log."""
    name, root = sys.argv[1:]
    try:
        STEPS[name](open_stack(Path(root), ready=False))
    except Exception as error:  # noqa: BLE001 - the edge of a process
        import traceback

        traceback.print_exc()
        # The last line of the log is what the person sees.
        print(f"{' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

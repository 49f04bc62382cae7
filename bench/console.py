"""The operators' console: how long each of its questions takes as people become many, by the app that `oo console` serves.

Rows stand sealed in the changelog and on the disk of a worker that recovered them, decisions in PostgreSQL; nobody writes meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psycopg
from starlette.testclient import TestClient

from bench.population import header, population, user_id
from bench.result import Bench, Result, Row, compared
from bench.running import running_stack
from connectors.key_files import KeyFiles
from deploy.console.access import Access
from deploy.console.app import PATH, create_app
from deploy.rows import row_of
from deploy.stack.running import RunningStack
from streams.clock import clock_ms
from streams.frames import Frames
from streams.key_maker import KeyMaker
from streams.keys import Keys
from streams.producer import Producer
from streams.sealing import seal_row
from streams.units import DAY_MS

SIZES = (1_000, 10_000, 100_000)
DECISIONS = 5
"""Of each person."""
AT_ONCE = 1_000
TURNS = 9
WITHIN_S = 300.0
GOAL = 3.0
"""Of the greatest size over the least."""
ASKED = {
    "health": f"{PATH}/v1/health",
    "activity": f"{PATH}/v1/activity",
    "topics": f"{PATH}/v1/topics",
    "decisions": f"{PATH}/v1/decisions",
    "person": f"{PATH}/v1/people/{{user}}",
    "policies": f"{PATH}/v1/policies",
    "letters": f"{PATH}/v1/letters",
}


def measure(bench: Bench) -> Result:
    """Milliseconds of each question at each size, the least beside the greatest."""
    sizes = [size // 10 for size in SIZES] if bench.quick else list(SIZES)
    found: dict[int, dict[str, float]] = {}
    for size in sizes:
        state = bench.scratch / f"of-{size}"
        with running_stack(state, servers_only=True, nameless=True) as stack:
            asyncio.run(_write(stack, size))
        with running_stack(state) as stack:
            found[size] = _ask(stack, size)
        told = ", ".join(f"{name} {ms:.0f}" for name, ms in found[size].items())
        bench.say(f"{size:,} people, in ms: {told}")
    return Result([_row(name, found, sizes) for name in found[sizes[0]]])


def _row(name: str, found: dict[int, dict[str, float]], sizes: list[int]) -> Row:
    least, middle, most = sizes
    return compared(
        name,
        f"{name}: {most:,} people beside {least:,}",
        found[most][name],
        "ms",
        peer=found[least][name],
        peer_name=f"{least:,}",
        at_most=GOAL if name in ASKED else None,
        note=f"The median of {TURNS} calls. *first person* is the first look-up of a console, which reads the keys of that person's partition; *from the "
        f"changelog* is a look-up where no worker's disk is at hand. With {middle:,} people: "
        + ", ".join(f"{each} {ms:.0f} ms" for each, ms in found[middle].items())
        + ".",
    )


async def _write(stack: RunningStack, size: int) -> None:
    """Keys, rows and decisions of so many people."""
    cluster = stack.cluster
    writes = Producer(cluster)
    keys, frames, front = Keys.of(cluster, KeyFiles(stack.kek_dir)), Frames(), header()
    maker = KeyMaker(keys, topic=cluster.name("keys"), producer=writes, frames=frames)
    # They wake after the measurement.
    rows = list(population().rows(size, now_ms=clock_ms() + DAY_MS))
    for at in range(0, size, AT_ONCE):
        some = rows[at : at + AT_ONCE]
        await maker.ensure(user for user, _ in some)
        values = [(user, front + seal_row(message, whose=user, keys=keys)) for user, message in some]
        await asyncio.gather(*[writes.produce(cluster.name("rows"), key=user, value=value) for user, value in values])
    await writes.close()
    with psycopg.connect(stack.dsn("postgres"), autocommit=True) as database:
        columns = "decision_id, user_id, decided_ms, valid_until_ms, journal_offset, topic_id, partition, trigger, kind, policy_version, propensity, supersedes, message"
        now_ms, many = clock_ms(), size * DECISIONS
        with database.cursor().copy(f"COPY recommender.decisions ({columns}) FROM STDIN") as copy:
            for number in range(many):
                at_ms, user = now_ms - (many - number) * 5_000, rows[number % size][0].decode()
                copy.write_row(
                    (f"d{number}", user, at_ms, at_ms, number, bytes(16), 0, "SIGNAL", "TASK", "v", 0.5, "", bytes(500))
                )
        # As it is where they came one after the other.
        database.execute("VACUUM ANALYZE recommender.decisions")


def _ask(stack: RunningStack, size: int) -> dict[str, float]:
    access = Access(cookie="c", code="in")
    user = user_id(size // 2)
    with TestClient(create_app(stack, access, hosts=None)) as client:
        client.get(f"{PATH}/enter", params={"code": "in"})

        def ask(path: str) -> None:
            answer = client.get(path.format(user=user.decode()))
            assert answer.status_code == 200, answer.text

        until_s = time.monotonic() + WITHIN_S
        while not client.get(ASKED["health"]).json()["ready"] or not _on_disk(stack):
            assert time.monotonic() < until_s, "the worker does not come to the end of the rows"
            time.sleep(0.5)
        first = _ms(lambda: ask(ASKED["person"]))
        took = {name: _middle(lambda path=path: ask(path)) for name, path in ASKED.items()}  # type: ignore[misc]
    took["first person"] = first
    elsewhere = RunningStack(stack.cluster, stack.folder, kek_dir=stack.kek_dir)
    took["from the changelog"] = _middle(lambda: asyncio.run(row_of(elsewhere, user.decode())), turns=3)
    return took


def _on_disk(stack: RunningStack) -> bool:
    """Whether the worker has moved all that it recovered to its disk."""
    disks = Path(stack.folder.data("core-0") / "rows")
    return disks.exists() and all(list(path.glob("*.blob")) for path in disks.iterdir() if path.is_dir())


def _middle(call: Callable[[], object], *, turns: int = TURNS) -> float:
    return median(_ms(call) for _ in range(turns))


def _ms(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return (time.perf_counter() - began_s) * 1000

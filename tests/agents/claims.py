"""What claiming connections costs among very many of them: python -m tests.agents.claims."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from connectors.postgres.leases import Leases
from tests.connectors.postgres_cluster import Database, cluster

CONNECTIONS = 50_000
OF_ONE = 10
CLAIMS = 40
_MADE = """INSERT INTO integrations.connections (connection_id, user_id, source, service, kek_id, wrapped_key, settings, credentials, zone,
    state, created_ms, every_ms, due_ms)
  SELECT i::text, (i / %s)::text, 'webcal', 'webcal', 'kek', '', '', '', '', 'active', 1, 300000,
    integrations.now_ms() + CASE WHEN %s THEN -1000 + i %% 900 ELSE 10000000 + i END FROM generate_series(1, %s) i"""


async def measure(database: Database, *, due: bool) -> str:
    with database.admin() as admin:
        admin.execute("TRUNCATE integrations.connections CASCADE")
        admin.execute(_MADE, (OF_ONE, due, CONNECTIONS))
        admin.execute("ANALYZE integrations.connections")
    took_ms = []
    async with Leases(database.dsn("integrations")) as leases:
        for _ in range(CLAIMS):
            began_s = time.perf_counter()
            found = await leases.claim(limit=8, lease_ms=60_000)
            took_ms.append(1000 * (time.perf_counter() - began_s))
            for one in found:
                await leases.release(one, pause_ms=300_000, read=True)
    return f"{'all' if due else 'none'} due: median {statistics.median(took_ms):.1f} ms, most {max(took_ms):.1f} ms"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with cluster(Path(folder)) as running:
            for due in (True, False):
                print(asyncio.run(measure(running.migrated(), due=due)))

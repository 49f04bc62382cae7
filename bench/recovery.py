"""Recovery: a partition's rows rebuilt from their changelog by the worker's own code, beside bare consuming of it.

Bare: the same client library with the same settings reads the same partition from its beginning to its end and counts.
Both run in turns in one process of their own; each one's best turn counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvloop
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from agents.recovery import Recovery
from agents.rows import head
from agents.set_aside import Aside
from agents.versions import Versions
from bench.population import header, population
from bench.result import Bench, Result, Row, compared
from connectors.key_files import KeyFiles
from streams import producer
from streams.clock import clock_ms
from streams.cluster import Cluster
from streams.frames import Frames
from streams.keys import Keys
from streams.reader import CONSUMED_AT_ONCE, read_partition, settings
from streams.topics import topics
from tables.rocks import Rocks
from tables.store import MemoryStore, Store
from tests.agents.build import PRIOR

ROOT = Path(__file__).resolve().parents[1]
ROWS = 60_000
TURNS = 3
NUMBER = 0


def measure(bench: Bench) -> Result:
    """Rows a second of an empty disk, of memory, and of an old disk that has everything."""
    rows = ROWS // 10 if bench.quick else ROWS
    with bench.stack(servers_only=True) as stack:
        bench.say(f"writing {rows:,} rows of {population().mean_bytes:,.0f} bytes in the mean")
        _write(stack.cluster.bootstrap, rows)
        orders = {"bootstrap": stack.cluster.bootstrap, "folder": str(bench.scratch / "disks"), "rows": rows}
        found = json.loads(
            subprocess.run(
                (sys.executable, "-m", "bench.recovery", json.dumps(orders)),
                cwd=ROOT,
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
    return Result(list(_rows(found, rows)))


def _rows(found: dict[str, float], rows: int) -> list[Row]:
    bare = rows / found["bare"]
    mean = population().mean_bytes

    def row(name: str, what: str, *, goal: float | None, note: str = "") -> Row:
        return compared(
            name, what, rows / found[name], "rows/s", peer=bare, peer_name="bare consuming", at_least=goal, note=note
        )

    return [
        row(
            "rocksdb",
            f"an empty disk, RocksDB: {rows:,} rows of {mean:,.0f} bytes",
            goal=0.5,
            note=f"Until the first record can be folded. Behind it, between batches, rows come from a file of their own "
            f"into RocksDB and what people taught is added up anew, until which sums are withheld: "
            f"{found['behind'] / rows * 1e6:.0f} µs a row more, in memory {found['counting'] / rows * 1e6:.0f} µs. "
            f"Processor time of our process until then: {found['rocksdb_cpu'] / rows * 1e6:.1f} µs a row, in memory "
            f"{found['memory_cpu'] / rows * 1e6:.1f} µs, bare {found['bare_cpu'] / rows * 1e6:.1f} µs; the broker shares "
            "the cores.",
        ),
        row("memory", "memory", goal=0.5),
        compared(
            "old-disk",
            "an old disk that has everything, beside an empty one",
            found["old"],
            "s",
            peer=found["rocksdb"],
            peer_name="empty disk",
        ),
    ]


def _write(bootstrap: str, rows: int) -> None:
    client = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.kbytes": 64 * 1024})
    topic, front = topics()["rows"].name, header()
    for user, message in population().rows(rows, now_ms=clock_ms()):
        while True:
            try:
                client.produce(topic, front + message, user, NUMBER)
                break
            except BufferError:
                client.poll(0.1)
    assert client.flush(120) == 0


# In a process of its own


def bare(bootstrap: str, rows: int) -> float:
    """Seconds of a loop that consumes the partition and looks at nothing."""
    client = Consumer(settings(Cluster(bootstrap)))
    began_s, count = time.perf_counter(), 0
    client.assign([TopicPartition(topics()["rows"].name, NUMBER, 0)])
    while count < rows:
        for message in client.consume(CONSUMED_AT_ONCE, 0.1):
            error = message.error()
            if error is None:
                count += 1
            elif error.code() != KafkaError._PARTITION_EOF:
                raise RuntimeError(error)
    took_s = time.perf_counter() - began_s
    client.close()
    return took_s


class Took(NamedTuple):
    """Seconds until the partition can be folded on, of the clock and of the processor, and of what goes on behind it."""

    ready_s: float
    ready_cpu_s: float
    behind_s: float


async def ours(bootstrap: str, open_store: Callable[[int], Store], *, rows: int) -> Took:
    """Recovers one partition and gives it back when nothing is left to do for it."""
    schemas = Frames()
    writes = producer.Producer(Cluster(bootstrap))

    async def committed(_: int) -> int:
        return 0

    async def no_versions() -> int:
        return 0

    async def nobodys() -> dict[int, int]:
        return {}

    async def nothing_aside() -> dict[int, Aside]:
        return {}

    versions = Versions(schemas=schemas, mac_key=bytes(32), end=no_versions)
    versions.epochs[PRIOR.version.epoch] = PRIOR.belief.epoch  # Which the rows name.
    recovery = Recovery(
        cluster=Cluster(bootstrap),
        journal_id=b"J" * 16,
        schemas=schemas,
        keys=Keys(KeyFiles(Path()), ends=nobodys, read=partial(read_partition, Cluster(bootstrap), "none")),
        producer=writes,
        versions=versions,
        open_store=open_store,
        committed=committed,
        aside=nothing_aside,
    )
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    assigned, _ = await recovery.recover(NUMBER)
    ready_s, ready_cpu_s = time.perf_counter(), time.process_time()
    if assigned.counting is not None:
        await assigned.counting
    behind_s = time.perf_counter() - ready_s
    assert sum(1 for _ in assigned.table.store.scan()) == rows
    assigned.close()
    await writes.close()
    return Took(ready_s - began_s, ready_cpu_s - began_cpu_s, behind_s)


def main() -> None:
    orders = json.loads(sys.argv[1])
    bootstrap, rows, folder = orders["bootstrap"], orders["rows"], Path(orders["folder"])
    best: dict[str, float] = {}

    def note(name: str, took_s: float) -> None:
        best[name] = min(took_s, best.get(name, took_s))

    for turn in range(TURNS):
        began_s = time.process_time()
        note("bare", bare(bootstrap, rows))
        note("bare_cpu", time.process_time() - began_s)
        disks = Rocks(folder / str(turn), identity=b"bench", head=head)
        empty = uvloop.run(ours(bootstrap, disks.open, rows=rows))
        note("rocksdb", empty.ready_s)
        note("rocksdb_cpu", empty.ready_cpu_s)
        note("behind", empty.behind_s)
        memory = uvloop.run(ours(bootstrap, lambda _: MemoryStore(head=head), rows=rows))
        note("memory", memory.ready_s)
        note("memory_cpu", memory.ready_cpu_s)
        note("counting", memory.behind_s)
        note("old", uvloop.run(ours(bootstrap, disks.open, rows=rows)).ready_s)
    print(json.dumps(best))


if __name__ == "__main__":
    main()

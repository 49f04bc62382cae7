"""How much memory a verification takes, and a run of `oo replay`, of journals of which one is ten times as long as the other, of the same people: each folded by
a process of its own, without what PostgreSQL and Valkey have. `python -m bench.measured.verification [RECORDS]` prints a line for each."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

from confluent_kafka import Producer

from agents.step import STEP_VERSION
from bench.measured import older
from bench.measured.older import result
from deploy.folding import Journal
from deploy.refold import compare_part
from deploy.replay.fold import fold_part
from deploy.replay.manifest import Manifest, Run
from deploy.shares import Work, in_processes
from streams.frames import Frames
from streams.reader import end_offsets, topic_ids
from streams.topics import topics
from tests.agents.build import MONDAY_MS, PRIOR, activity, entry, task

PEOPLE = 100
TASKS = 7
DECIDED_EACH = 10
"""One of so many records of a person is of a task, and makes a decision; the others are of what they do."""


async def compared(journal: Journal, number: int, end: int, progress: Callable[[int], None]) -> int:
    """The most memory that this process had, in KiB, once it had compared a partition."""
    await compare_part(journal, number, end, progress)
    return _most_kib()


async def run(root: Path, journal: Journal, number: int, end: int, progress: Callable[[int], None]) -> int:
    """The same of a run."""
    one, began = Run(root, f"run-{number}"), dict.fromkeys([number], 0)
    one.create(Manifest(one.name, journal.topic_id.hex(), began, {number: end}, {}, STEP_VERSION, build=""))
    await fold_part(one, journal, number, end, progress)
    return _most_kib()


def _most_kib() -> int:
    # Not `ru_maxrss`: a process that was spawned begins with the most that its parent had.
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1])


def write(bootstrap: str, name: str, partition: int, records: int) -> None:
    """So many records of the same people, in one partition; nobody has lived them."""
    schemas = Frames()
    client = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for at in range(records):
        turn, user = at // PEOPLE, f"user-{at % PEOPLE}"
        payload = (
            activity(user=user)
            if turn % DECIDED_EACH
            else task(f"{turn // DECIDED_EACH % TASKS}", user=user, title=f"Task {turn}")
        )
        record = entry(payload, offset=at, time_ms=MONDAY_MS + 1000 * turn, user=user).record
        client.produce(name, schemas.frame("journal", record), user.encode(), partition)
        if at % 100_000 == 0:
            client.flush(60)
    assert client.flush(120) == 0


async def main(records: int) -> None:
    """Partition 0 has so many, partition 1 ten times as many."""
    name = topics()["journal"].name
    with (
        tempfile.TemporaryDirectory(prefix="oo-bench-") as folder,
        result.Bench(Path(folder)).stack(servers_only=True) as stack,
    ):
        bootstrap = older.bootstrap(stack)
        write(bootstrap, name, 0, records)
        write(bootstrap, name, 1, 10 * records)
        cluster = older.cluster(stack)
        journal = Journal(
            **older.in_cluster(stack), topic_id=(await topic_ids(cluster, [name]))[name], versions={"": PRIOR}
        )
        ends = await end_offsets(cluster, name)
        works: dict[str, Work[int]] = {"verify": compared, "replay run": partial(run, Path(folder) / "replays")}
        for number in (0, 1):
            for what, work in works.items():
                began_s, one = time.perf_counter(), {number: ends[number]}
                async with aclosing(in_processes(work, journal, one, processes=1, progress=lambda _: None)) as parts:
                    async for kib in parts:
                        took_s = time.perf_counter() - began_s
                        print(
                            f"{what}: {one[number]} records, {took_s:.0f} s, {kib / 1024:.0f} MiB at most", flush=True
                        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))

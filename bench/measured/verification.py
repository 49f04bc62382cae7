"""How much memory a verification takes of journals of which one is ten times as long as the other, of the same people: each folded by a process of its own,
as `oo verify` folds it, without what PostgreSQL and Valkey have. `python -m bench.measured.verification [RECORDS]` prints a line for each."""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from confluent_kafka import Producer

from bench.measured import older
from bench.measured.older import result
from deploy.folding import Journal
from deploy.refold import compare_part
from deploy.shares import in_processes
from streams.frames import Frames
from streams.reader import end_offsets, topic_ids
from streams.topics import topics
from tests.agents.build import PRIOR, Person, task

PEOPLE = 100
TASKS = 7


async def measured(journal: Journal, number: int, end: int, progress: Callable[[int], None]) -> tuple[int, int]:
    """Decisions, and the most memory that this process had, in KiB."""
    part = await compare_part(journal, number, end, progress)
    return part.decisions, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def write(bootstrap: str, name: str, partition: int, records: int) -> None:
    """So many records of the same people, in one partition."""
    schemas = Frames()
    client = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    each = records // PEOPLE
    for number in range(PEOPLE):
        somebody, user = Person(user=f"user-{number}"), f"user-{number}"
        for turn in range(each):
            somebody.take(task(f"{turn % TASKS}", user=user, title=f"Task {turn}"))
        for entry, _ in somebody.log:
            client.produce(name, schemas.frame("journal", entry.record), user.encode(), partition)
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
        for number in (0, 1):
            began_s = time.perf_counter()
            one = {number: ends[number]}
            async with aclosing(in_processes(measured, journal, one, processes=1, progress=lambda _: None)) as parts:
                async for decisions, kib in parts:
                    took_s = time.perf_counter() - began_s
                    print(
                        f"{ends[number]} records, {decisions} decisions, {took_s:.0f} s, {kib / 1024:.0f} MiB at most",
                        flush=True,
                    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))

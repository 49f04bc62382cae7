"""Replay: the journal folded again as `oo verify` folds it, beside a bare loop of `step` over the same records in memory.

Ours reads the records from Kafka, parses them, keeps rows as bytes and makes a digest of all that follows. Bare: records
parsed beforehand, rows kept as messages, nothing done with what follows. Both run in turns in one process of their own,
and are told apart by processor time, all threads: the best turn of each counts.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import Producer

from agents.step import Entry, step
from bench.lives import LIVES, lived
from bench.result import Bench, Result, compared
from deploy.refold import Journal, compare_parts, entries_of, fold_part
from oo.v1 import journal_pb2, row_pb2
from streams.cluster import Cluster
from streams.frames import Frames
from streams.partitioner import partition_of
from streams.reader import end_offsets, read_partition, topic_ids
from streams.topics import PARTITIONS, topics
from tests.agents.build import PRIOR

ROOT = Path(__file__).resolve().parents[1]
PEOPLE = {"light": 180, "typical": 18, "heavy": 2}
"""As in population: 90 %, 9 % and 1 %."""
TURNS = 3
JOURNAL = topics()["journal"].name


def measure(bench: Bench) -> Result:
    """Records a processor-second, and how much sooner two processes are done than one."""
    share = 10 if bench.quick else 1
    people = {name: max(count // share, 1) for name, count in PEOPLE.items()}
    with bench.stack(servers_only=True) as stack:
        bench.say(f"living the days of {sum(people.values())} people")
        _write(stack.cluster.bootstrap, people)
        found = json.loads(
            subprocess.run(
                (sys.executable, "-m", "bench.refolding", stack.cluster.bootstrap),
                cwd=ROOT,
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
    records, rest = found["records"], found["ours"] - found["bare"]
    return Result(
        [
            compared(
                "replay",
                f"a journal of {records:,} records folded from Kafka, {found['decisions'] / records:.0%} of them decisions",
                records / found["ours"],
                "records/core-s",
                peer=records / found["bare"],
                peer_name="bare loop of step, in memory",
                at_least=0.8,
                note=f"{found['bare'] / records * 1e6:.0f} µs a record are `step`. Of the other "
                f"{rest / records * 1e6:.0f} µs, reading and parsing the records take {found['read'] / records * 1e6:.0f}; "
                "what is left are rows, parsed and written once a batch, and digests of decisions.",
            ),
            compared(
                "replay-parallel",
                "the same on two processes, their start included",
                records / found["two"],
                "records/s",
                peer=records / found["one"],
                peer_name="one process",
                at_least=1.8,
            ),
        ]
    )


def _write(bootstrap: str, people: dict[str, int]) -> None:
    """Everybody's journal, by time, in the partitions that their names fall on."""
    schemas, logs = Frames(), []
    for name, count in people.items():
        for number in range(count):
            somebody = lived(LIVES[name], seed=number, user=f"{number:08x}-0000-4000-8000-{name:0>12}")
            logs += [entry for entry, _ in somebody.log]
    logs.sort(key=lambda entry: entry.time_ms)
    client = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for entry in logs:
        record, key = journal_pb2.JournalRecord(), entry.user_id.encode()
        record.CopyFrom(entry.record)
        record.now_ms = entry.time_ms  # As a copied journal has it: those days are over in a moment.
        client.produce(JOURNAL, schemas.frame("journal", record), key, partition_of(key, PARTITIONS))
    assert client.flush(60) == 0


# In a process of its own


def bare(partitions: list[list[Entry]]) -> int:
    """Folds records that are in memory; says how many decisions that makes."""
    decisions = 0
    for entries in partitions:
        rows: dict[str, row_pb2.UserRow | None] = {}
        for entry in entries:
            rows[entry.user_id], outputs = step(rows.get(entry.user_id), entry, PRIOR)
            decisions += outputs.decision is not None
    return decisions


async def ours(journal: Journal, ends: dict[int, int]) -> int:
    """Folds the topic as one process of verify does; says how many decisions that makes."""
    parts = [await fold_part(journal, number, end=end, progress=_unheard) for number, end in ends.items()]
    return sum(len(part.decisions) for part, _ in parts)


async def parsed(journal: Journal, ends: dict[int, int]) -> list[list[Entry]]:
    """The records in memory."""
    schemas, partitions = Frames(), []
    for number, end in ends.items():
        entries: list[Entry] = []
        async for records in read_partition(journal.cluster, JOURNAL, number, end=end):
            entries += entries_of(records, schemas=schemas, topic_id=journal.topic_id)
        partitions.append(entries)
    return partitions


async def in_parallel(journal: Journal, ends: dict[int, int], *, processes: int) -> float:
    """Seconds until every partition is compared."""
    began_s = time.perf_counter()
    async for _ in compare_parts(journal, ends, processes=processes, progress=_unheard):
        pass
    return time.perf_counter() - began_s


def _unheard(_: int) -> None:
    pass


async def main(bootstrap: str) -> None:
    cluster = Cluster(bootstrap)
    ends = await end_offsets(cluster, JOURNAL)
    journal = Journal(
        cluster,
        topic_id=(await topic_ids(cluster, [JOURNAL]))[JOURNAL],
        versions={"": PRIOR},
    )
    best: dict[str, float] = {}

    def note(name: str, took_s: float) -> None:
        best[name] = min(took_s, best.get(name, took_s))

    decisions = set()
    for _ in range(TURNS):
        began_s = time.process_time()
        entries = await parsed(journal, ends)
        note("read", time.process_time() - began_s)
        began_s = time.process_time()
        decisions.add(bare(entries))
        note("bare", time.process_time() - began_s)
        began_s = time.process_time()
        decisions.add(await ours(journal, ends))
        note("ours", time.process_time() - began_s)
        del entries
    for _ in range(TURNS):
        note("one", await in_parallel(journal, ends, processes=1))
        note("two", await in_parallel(journal, ends, processes=2))
    (same,) = decisions
    print(json.dumps({**best, "records": sum(ends.values()), "decisions": same}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""Replay: the journal folded again as `oo verify` folds it, and as `oo replay run` does, beside a bare loop of `step` over the same records in memory, and
beside the build before.

Ours reads the records from Kafka, parses them, keeps rows as bytes and makes a digest of all that follows. Bare: records
parsed beforehand, rows kept as messages, nothing done with what follows. Both run in turns in one process of their own,
and are told apart by processor time, all threads: the middle turn of each counts.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from confluent_kafka import Producer

from agents.step import STEP_VERSION, Entry, step
from bench.builds import Numbers, in_turns
from bench.lives import LIVES, lived
from bench.result import Bench, Result, compared
from deploy.folding import Journal, entries_of
from deploy.refold import compare_part
from deploy.shares import in_processes
from oo.v1 import journal_pb2, row_pb2
from streams.frames import Frames
from streams.partitioner import partition_of
from streams.reader import read_partition
from streams.sealing import NO_KEYS, Sealing
from streams.topics import PARTITIONS, topics
from tests.agents.build import PRIOR

PROGRAM = "bench.measured.replay"
PEOPLE = {"light": 180, "typical": 18, "heavy": 2}
"""As in population: 90 %, 9 % and 1 %."""
TURNS = 3
TURNS_PARALLEL = 1
LONGER = 10
"""Times as many people for two processes, so that a fold takes long enough to be shared out."""
JOURNAL = topics()["journal"].name


def measure(bench: Bench) -> Result:
    """Records a processor-second, now and before; and how much sooner two processes are done than one."""
    share = 1 if bench.quick else 10
    bench.say("living everybody's days, in both builds")
    found = in_turns(bench, PROGRAM, f"{share}", "fold", turns=2 if bench.quick else TURNS)
    before, now = _middle(found["before"]), _middle(found["now"])
    bench.say("living the days of more people")
    shared = _middle(
        in_turns(
            bench,
            PROGRAM,
            f"{share * (1 if bench.quick else LONGER)}",
            "parallel",
            turns=1 if bench.quick else TURNS_PARALLEL,
            alone=True,
        )["now"]
    )
    records, rest = now["records"], now["ours"] - now["bare"]
    what = f"a journal of {records:,.0f} records folded from Kafka, {now['decisions'] / records:.0%} of them decisions"
    return Result(
        [
            compared(
                "replay-before",
                what,
                records / now["ours"],
                "records/core-s",
                peer=before["records"] / before["ours"],
                peer_name=bench.against,
                at_least=3.0,
            ),
            compared(
                "replay",
                what,
                records / now["ours"],
                "records/core-s",
                peer=records / now["bare"],
                peer_name="bare loop of step, in memory",
                at_least=0.8,
                note=f"{now['bare'] / records * 1e6:.0f} µs a record are `step`. Of the other "
                f"{rest / records * 1e6:.0f} µs, reading and parsing the records take {now['read'] / records * 1e6:.0f}; "
                "what is left are rows, parsed and written once a batch, and digests of decisions.",
            ),
            compared(
                "replay-run",
                f"the same by `oo replay run`, its Parquet and rows put away; {now['decisions'] / records:.0%} of them decisions",
                records / now["run"],
                "records/core-s",
                peer=records / now["bare"],
                peer_name="bare loop of step, in memory",
                at_least=0.8,
            ),
            compared(
                "replay-parallel",
                f"a journal of {shared['records']:,.0f} records on two processes, their start not counted",
                shared["records"] / shared["two"],
                "records/s",
                peer=shared["records"] / shared["one"],
                peer_name="one process",
                at_least=1.8,
                note=f"One process folds it in {shared['one']:.0f} s, two in {shared['two']:.1f} s. Until the first record of each "
                f"partition is folded one takes {shared['start of one']:.1f} s and two {shared['start of two']:.1f} s: that is "
                "their start, and taken off.",
            ),
        ]
    )


def _middle(turns: list[Numbers]) -> Numbers:
    return {name: median(turn[name] for turn in turns) for name in turns[0]}


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


# In a process of its own (bench.measured.replay)


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
    parts = [await compare_part(journal, number, end, _unheard) for number, end in ends.items()]
    return sum(part.decisions for part in parts)


async def run(root: Path, journal: Journal, ends: dict[int, int]) -> None:
    """Folds the topic as one process of `oo replay run` does."""
    from deploy.replay.fold import fold_part
    from deploy.replay.manifest import Manifest, Run

    one = Run(root, f"run-{time.monotonic_ns()}")
    one.create(Manifest(one.name, journal.topic_id.hex(), dict.fromkeys(ends, 0), ends, {}, STEP_VERSION, build=""))
    for number, end in ends.items():
        await fold_part(one, journal, number, end, _unheard)


async def parsed(journal: Journal, ends: dict[int, int]) -> list[list[Entry]]:
    """The records in memory."""
    sealing, partitions = Sealing(Frames(), NO_KEYS), []
    for number, end in ends.items():
        entries: list[Entry] = []
        async for records in read_partition(journal.cluster, JOURNAL, number, end=end):
            entries += entries_of(records, sealing=sealing, topic_id=journal.topic_id)
        partitions.append(entries)
    return partitions


async def in_parallel(journal: Journal, ends: dict[int, int], *, processes: int) -> float:
    """Seconds until every partition is compared."""
    began_s = time.perf_counter()
    async for _ in in_processes(compare_part, journal, ends, processes=processes, progress=_unheard):
        pass
    return time.perf_counter() - began_s


def _unheard(_: int) -> None:
    pass

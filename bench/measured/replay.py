"""A journal in a Kafka of its own, folded as `oo verify` folds it and by a bare loop of `step` in memory: processor seconds, all
threads. With "parallel": seconds until one process is done, and two, and how many of them each takes to start."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.measured import older, turns
from bench.measured.older import result
from streams.reader import end_offsets, topic_ids

try:
    from tests.bench import refolding  # of when the benchmarks were tests
except ImportError:
    from bench import refolding


def main(share: int, what: str) -> None:
    """`share` tenths of refolding's people live."""
    people = {name: max(count * share // 10, 1) for name, count in refolding.PEOPLE.items()}
    with (
        tempfile.TemporaryDirectory(prefix="oo-bench-") as folder,
        result.Bench(Path(folder)).stack(servers_only=True) as stack,
    ):
        refolding._write(older.bootstrap(stack), people)
        ends, journal = asyncio.run(_journal(stack))
        records = sum(ends.values())

        def turn() -> turns.Numbers:
            began_s = time.process_time()
            entries = asyncio.run(refolding.parsed(journal, ends))
            read_s = time.process_time()
            decisions = refolding.bare(entries)
            bare_s = time.process_time()
            assert asyncio.run(refolding.ours(journal, ends)) == decisions
            ours_s, ran = time.process_time() - bare_s, dict[str, float]()
            if older.REPLAYS:
                began_run_s = time.process_time()
                asyncio.run(refolding.run(Path(folder) / "replays", journal, ends))
                ran["run"] = time.process_time() - began_run_s
            return ran | {
                "records": records,
                "decisions": decisions,
                "read": read_s - began_s,
                "bare": bare_s - read_s,
                "ours": ours_s,
            }

        def parallel() -> turns.Numbers:
            found = {"records": float(records)}
            for name, processes in (("one", 1), ("two", 2)):
                start_s = _took(journal, {number: min(end, 1) for number, end in ends.items()}, processes)
                found |= {name: _took(journal, ends, processes) - start_s, f"start of {name}": start_s}
            return found

        turns.answer(parallel if what == "parallel" else turn)


async def _journal(stack: Any) -> tuple[Mapping[int, int], refolding.Journal]:
    cluster, topic = older.cluster(stack), refolding.JOURNAL
    topic_id = (await topic_ids(cluster, [topic]))[topic]
    journal = refolding.Journal(**older.in_cluster(stack), topic_id=topic_id, versions={"": refolding.PRIOR})
    return await end_offsets(cluster, topic), journal


def _took(journal: refolding.Journal, ends: Mapping[int, int], processes: int) -> float:
    return asyncio.run(refolding.in_parallel(journal, ends, processes=processes))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

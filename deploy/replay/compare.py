"""Holds what a run made again against what was logged, as `oo verify` does with a fold.

It reads the run, people's keys and PostgreSQL, and writes nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.differing import Differences, Kept
from deploy.keys import read_keys
from deploy.recorded import recorded
from deploy.replay.manifest import Manifest, Run
from deploy.replay.sink import read
from deploy.stack.running import RunningStack
from deploy.stretch import Stretch


@dataclass(slots=True)
class Compared:
    """How much was compared, and the first difference in words, where the comparison ended."""

    decisions: int = 0
    outcomes: int = 0
    difference: str = ""
    passed_over: int = 0
    """Of people who left since, or older than what PostgreSQL keeps."""


async def compare(stack: RunningStack, run: Run) -> Compared:
    """Compare all of a run that is done, up to the first stretch in which something differs. Raises RunError for one that is not done."""
    manifest, found = run.manifest(), Compared()
    run.check_done()
    for number in sorted(manifest.end):
        await _compare(stack, run, manifest, number, found)
        if found.difference:
            break
    return found


async def _compare(stack: RunningStack, run: Run, manifest: Manifest, number: int, found: Compared) -> None:
    keys, differences = await read_keys(stack.cluster, stack.kek_dir, partition=number), Differences()
    start, end = manifest.start[number], manifest.end[number]
    async with recorded(stack, bytes.fromhex(manifest.journal_id), number, keys) as history:
        _, from_ms = await history.excuses()
        users = set(manifest.users) or None
        stretch = Stretch(history, differences, start=start, cut=end, from_ms=from_ms, users=users)
        at = start
        for name, one in _logged(run, number):
            # A record's are compared together.
            if stretch.full and one.offset > at:
                await stretch.compare(one.offset)
                if differences.n:
                    break
            at = one.offset
            stretch.add(name, one)
        else:
            await stretch.compare(end)
        await stretch.settle()
    found.decisions += stretch.compared["decision"]
    found.outcomes += stretch.compared["outcome"]
    found.passed_over += stretch.excused
    if differences.n:
        what, _, how = differences.shown[0].partition(": ")
        found.difference = f"{what} of partition {number}: {how}"


def _logged(run: Run, number: int) -> Iterator[tuple[str, Kept]]:
    """A run's decisions and outcomes of a partition, in the order of the journal."""
    decisions = (
        ("decision", Kept(one["decision_id"], one["user"], one["offset"], one["decided_ms"], one["digest"]))
        for one in read(run, number, "decisions")
    )
    outcomes = (
        ("outcome", Kept(one["outcome_id"], one["user"], one["offset"], one["event_time_ms"], one["digest"]))
        for one in read(run, number, "outcomes")
    )
    return heapq.merge(decisions, outcomes, key=lambda one: one[1].offset)

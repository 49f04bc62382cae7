"""Holds what a run made again against what was logged, as `oo verify` does with a fold; and what another policy says against it.

It reads the run, people's keys and PostgreSQL, and writes nothing.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from deploy.differing import Differences, Kept
from deploy.keys import read_keys
from deploy.recorded import recorded
from deploy.replay.manifest import Manifest, Run, RunError
from deploy.replay.sink import read
from deploy.stack.running import RunningStack
from deploy.stretch import Stretch

EXAMPLES_MAX = 10


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
    _check_done(run)
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


def _check_done(run: Run) -> None:
    if run.state() != "done":
        raise RunError(f"{run.name} is {run.state()}: 'oo replay resume {run.name}' brings it to its end")


@dataclass(slots=True)
class Otherwise:
    """Where the other policy of an evaluation would have chosen otherwise, on the logged slates."""

    decisions: int = 0
    otherwise: int = 0
    distance: float = 0.0
    """The mean total variation between the two policies' probabilities."""
    by_kind: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of the logged tip: decisions, and how many of them otherwise."""
    people: list[tuple[str, int, int]] = field(default_factory=list)
    """Pseudonym, otherwise, decisions: those of whom most would have been otherwise."""
    examples: list[tuple[float, str, str]] = field(default_factory=list)
    """Distance, decision id and pseudonym: the farthest apart."""


def otherwise(run: Run) -> Otherwise:
    """Count it. Raises RunError for a run that is no evaluation, or not done."""
    manifest, found = run.manifest(), Otherwise()
    if not manifest.policy:
        raise RunError(f"{run.name} is a verification: only a run with --policy has another policy to hold against")
    _check_done(run)
    total, people, theirs = 0.0, Counter[str](), Counter[str]()
    for number in sorted(manifest.end):
        for one in read(run, number, "decisions"):
            pairs = zip(one["propensities"], one["other_propensities"], strict=True)
            apart, differs = sum(abs(mine - other) for mine, other in pairs) / 2, one["chosen"] != one["other_chosen"]
            found.decisions, found.otherwise, total = found.decisions + 1, found.otherwise + differs, total + apart
            many, some = found.by_kind.get(one["kind"], (0, 0))
            found.by_kind[one["kind"]] = many + 1, some + differs
            people[one["user"]] += 1
            theirs[one["user"]] += differs
            if differs:
                found.examples.append((apart, one["decision_id"], one["user"]))
                if len(found.examples) > 2 * EXAMPLES_MAX:
                    found.examples = sorted(found.examples, reverse=True)[:EXAMPLES_MAX]
    found.distance = total / found.decisions if found.decisions else 0.0
    found.examples = sorted(found.examples, reverse=True)[:EXAMPLES_MAX]
    found.people = [(user, many, people[user]) for user, many in theirs.most_common(EXAMPLES_MAX) if many]
    return found

"""Row snapshots after they were made: verifies each by a fold, and trims the journal below what was verified.

A snapshot counts as verified once a fold of the journal, from the verified one before it or from the beginning, gives its rows byte for byte. It
never makes one (agents/cuts.py does), and trims nothing that was not folded, that a snapshot does not stand for, or that is younger than it
was told.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from confluent_kafka import TopicPartition

from deploy.folding import BeginningGone, Journal
from deploy.journal import whole_journal
from deploy.refold import compare_snapshot
from deploy.stack.running import RunningStack
from deploy.stack.topics import admin
from streams.cluster import Cluster
from streams.reader import bounds, committed
from tables.snapshots import Damaged, Reading, Snapshot, Snapshots, beginning

NICENESS = 19
TIMEOUT_S = 30.0


@dataclass(slots=True)
class Verified:
    """What came of one snapshot."""

    snapshot: Snapshot
    why_not: str = ""
    """Empty: it is verified."""
    shown: list[str] = field(default_factory=list)


async def begins(cluster: Cluster, numbers: Iterable[int]) -> dict[int, int]:
    """Where these partitions of the journal begin now."""
    return {number: (await bounds(cluster, cluster.name("journal"), number))[0] for number in numbers}


async def begun(
    stack: RunningStack,
    journal: Journal,
    numbers: Iterable[int],
    *,
    from_snapshot: bool,
    reaching: Mapping[int, int] = MappingProxyType({}),
) -> Journal:
    """The journal with what its partitions' folds begin with. Raises BeginningGone where that is not there any more.

    `from_snapshot`: with the newest that is verified; `reaching`: with the newest of which what follows has all from this offset on. Else as
    early as what is left of the journal allows.
    """
    found = {}
    asked = stack.snapshots_dir is not None or from_snapshot
    snapshots = stack.snapshots(journal.topic_id) if asked else None
    for number, low in (await begins(stack.cluster, numbers)).items():
        some = [] if snapshots is None else snapshots.all(number)
        before = [one for one in some if one.offset < reaching.get(number, 0)]
        one = beginning(before, low=low, newest=True) or beginning(some, low=low, newest=from_snapshot)
        if one is None and low:
            raise BeginningGone(
                f"partition {number} of the journal begins at offset {low}, and there is no verified row snapshot that reaches it: what was "
                "before cannot be folded again ('oo snapshots' lists what is there)"
            )
        if one is not None:
            found[number] = one
    return replace(journal, snapshots=found)


async def verify(
    stack: RunningStack, journal: Journal, *, progress: Callable[[int], None] = lambda _: None
) -> list[Verified]:
    """Verify what is not verified yet, the oldest first."""
    snapshots, done = stack.snapshots(journal.topic_id), []
    epochs = {one.version.epoch: one.belief.epoch for one in journal.versions.values()}
    for number in range(stack.cluster.topics["journal"].partitions):
        some = snapshots.all(number)
        for place, one in enumerate(some):
            if one.verified:
                continue
            found = Verified(one)
            done.append(found)
            try:
                # What follows from a record is the rules' under which it was written, whatever build folds it.
                base = _base(snapshots, some[:place])
                whence = replace(journal, snapshots={} if base is None else {number: base})
                differences = await compare_snapshot(whence, one, epochs=epochs, progress=progress)
            except (BeginningGone, Damaged) as error:
                found.why_not = str(error)
                continue
            found.shown = differences.shown
            if differences.n:
                found.why_not = f"a fold gives something else: {differences.n} differences"
                continue
            # It went meanwhile where its partition's owner has made newer ones.
            with suppress(FileNotFoundError):
                snapshots.note_verified(one)
                some[place] = replace(one, verified=True)
    return done


def _base(snapshots: Snapshots, before: Sequence[Snapshot]) -> Snapshot | None:
    """The newest of these that is verified, and whole still; None where none is.

    One that is damaged since stands for nothing, and would hold up all that are folded from it: it goes.
    """
    for one in reversed(before):
        if one.verified:
            if _is_whole(one):
                return one
            snapshots.drop([one])
    return None


async def trim(stack: RunningStack, journal: Journal, *, before_ms: int) -> dict[int, int]:
    """Take from the journal what is older and not needed; returns where each partition begins that was trimmed.

    Below the newest snapshot that was made before then, is verified, and has another verified one behind it. Both are read once more
    before anything goes.
    """
    cluster, snapshots = stack.cluster, stack.snapshots(journal.topic_id)
    name = cluster.name("journal")
    numbers = range(cluster.topics["journal"].partitions)
    folded = await committed(cluster, cluster.group("core"), name)
    lows = await begins(cluster, numbers)
    wanted = {}
    for number in numbers:
        to = trimmed_to([one for one in snapshots.all(number) if _is_whole(one)], before_ms=before_ms)
        to = min(to, folded.get(number) or 0)
        if to > lows[number]:
            wanted[number] = to
    if not wanted:
        return {}
    client = admin(stack.as_admin.cluster)
    # Kept in a name: an answer whose request is forgotten never comes.
    asked = client.delete_records([TopicPartition(name, number, to) for number, to in wanted.items()])
    for answer in asked.values():
        await asyncio.to_thread(answer.result, TIMEOUT_S)
    return wanted


def trimmed_to(some: Sequence[Snapshot], *, before_ms: int) -> int:
    """Where one partition's journal may begin, by its snapshots, the oldest first; 0: nothing may go.

    >>> from pathlib import Path
    >>> some = [Snapshot(0, at, at, Path(), verified=at != 2) for at in range(5)]
    >>> [trimmed_to(some, before_ms=at) for at in (0, 1, 2, 3, 9)], trimmed_to(some[:1], before_ms=9)
    ([1, 2, 2, 4, 4], 0)
    """
    verified = [one for one in some if one.verified]
    return max((one.offset + 1 for one in verified[:-1] if one.made_ms <= before_ms), default=0)


async def tend(stack: RunningStack, *, before_ms: int | None) -> tuple[list[Verified], dict[int, int]]:
    """Verify what is new, then trim, unless `before_ms` is None; beside the work, at the lowest priority."""
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    journal = await whole_journal(stack)
    verified = await verify(stack, journal)
    return verified, {} if before_ms is None else await trim(stack, journal, before_ms=before_ms)


def _is_whole(one: Snapshot) -> bool:
    """Raises OSError where that cannot be said now: what a disk does not give at this moment may be whole."""
    try:
        with Reading(one.path) as reading:
            reading.check()
    except (Damaged, FileNotFoundError):
        return False
    return True

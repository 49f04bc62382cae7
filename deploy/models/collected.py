"""Reads a training set from a bounded replay of the journal, and holds its vectors against those of the live decisions. It only reads.

The fold goes on to a cut behind the range: what people have said of learning until now, and who has left, holds for what was decided before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from agents.consents import teaches_others
from deploy.cut import cut
from deploy.folding import Journal, folded, keys_of
from deploy.journal import whole_journal
from deploy.replay.fold import journal_of
from deploy.replay.run import planned
from deploy.scratch import Rows, scratch
from deploy.shares import in_processes, worth
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2
from streams.frames import Frames
from streams.reader import bounds, read_partition
from streams.sealing import KeyMissing, Keys, Sealing
from streams.wire import BadFrame
from tables import slates
from training.sets import Collector, TrainingSet, joined, vectors_of


class VectorsDiffer(Exception):
    """The replay made other features than the live decisions had: nothing may be learned from either."""


@dataclass(frozen=True, slots=True)
class Audit:
    """Decisions whose features were held against those of the live ones."""

    decisions: int = 0
    vectors: int = 0
    missing: int = 0
    """Decisions that the topic has not any more."""
    differences: int = 0

    def plus(self, other: Audit) -> Audit:
        """Both."""
        return Audit(
            self.decisions + other.decisions,
            self.vectors + other.vectors,
            self.missing + other.missing,
            self.differences + other.differences,
        )


@dataclass(frozen=True, slots=True)
class Collected:
    """A training set, and where it is from."""

    rows: TrainingSet
    journal_id: str
    """Of the topic, in hex."""
    ranges: Mapping[int, tuple[int, int]]
    """By partition of the journal, from which offset on and up to which."""
    read_to: Mapping[int, int]
    """By partition, up to where it was read for who has left and who has withdrawn."""
    erasures: int
    """How many people had left by then; nothing of them is in it."""
    unshared: int
    """Decisions of people from whom others may not learn."""
    audit: Audit


@dataclass(frozen=True, slots=True)
class _Part:
    rows: TrainingSet
    unshared: int
    audit: Audit


async def collect(
    stack: RunningStack,
    *,
    since: int | str,
    until: int | str,
    wait_ms: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    processes: int | None = None,
) -> Collected:
    """Make it; `since` and `until` as `oo replay run` takes them, `progress(done, total)` in journal records.

    Raises VectorsDiffer, and what `deploy.replay.run.planned` and `deploy.shares.in_processes` do.
    """
    manifest = await planned(stack, "train", since=since, until=until)
    ends = await cut(stack.cluster)
    journal = journal_of(manifest, await whole_journal(stack))
    begins = {number: offset + 1 for number, (offset, _) in manifest.snapshots().items()}
    total = sum(max(end - begins.get(number, 0), 0) for number, end in ends.items())
    done, parts = 0, dict[int, _Part]()

    def count(records: int) -> None:
        nonlocal done
        done += records
        progress(done, max(total, done))

    work = partial(collect_part, start=manifest.start, stop=manifest.end, wait_ms=wait_ms)
    async with aclosing(in_processes(work, journal, ends, processes=processes or worth(total), progress=count)) as some:
        async for number, part in some:
            parts[number] = part
    audit = Audit()
    for part in parts.values():
        audit = audit.plus(part.audit)
    if audit.differences:
        raise VectorsDiffer(
            f"{audit.differences} of {audit.decisions} decisions have other features in the replay than they had live: 'oo verify' shows what differs"
        )
    return Collected(
        joined([parts[number].rows for number in sorted(parts)]),
        manifest.journal_id,
        {number: (manifest.start[number], end) for number, end in sorted(manifest.end.items())},
        dict(sorted(ends.items())),
        len(journal.leavers),
        sum(part.unshared for part in parts.values()),
        audit,
    )


async def collect_part(
    journal: Journal,
    number: int,
    end: int,
    progress: Callable[[int], None],
    *,
    start: Mapping[int, int],
    stop: Mapping[int, int],
    wait_ms: int,
) -> tuple[int, _Part]:
    """The same of one partition, whose fold ends at `end`."""
    keys = await keys_of(journal, number)
    collector = Collector(number, start=start[number], end=stop[number])
    with scratch() as made:
        state = replace(journal.state(number), rows=Rows(made))
        async for one in folded(
            journal, number, keys=keys, end=end, begin=journal.snapshots.get(number), state=state, progress=progress
        ):
            collector.take(one.entry.offset, one.entry.time_ms, one.outputs.decision, one.outputs.outcomes)

        def may_teach(user_id: str) -> bool:
            row = state.row(user_id)
            return row is not None and not journal.leavers.are_gone(user_id) and teaches_others(row)

        rows = collector.done(wait_ms=wait_ms, may_teach=may_teach)
    audit = await _audited(journal, number, collector, keys=keys, start=start[number], stop=stop[number])
    return number, _Part(rows, collector.unshared, audit)


async def _audited(journal: Journal, number: int, mine: Collector, *, keys: Keys, start: int, stop: int) -> Audit:
    """Hold every decision of the range against the one that stands in the topic of decisions."""
    topic, left = journal.cluster.name("decisions"), dict(mine.vectors)
    sealing, same, vectors, otherwise = Sealing(Frames(), keys), set[str](), 0, 0
    async for records in read_partition(journal.cluster, topic, number):
        for record in records:
            try:
                live = sealing.unframe("decisions", record.value, whose=record.key or b"")
            except (BadFrame, KeyMissing):
                continue  # Nobody of ours wrote it, or its person has left: the fold has none of them either.
            assert isinstance(live, decision_pb2.Decision)
            if live.journal.topic_id != journal.topic_id or not start <= live.journal.offset < stop:
                continue
            if journal.leavers.passes(record.key, live.journal.offset) or live.decision_id in same:
                continue
            here = left.pop(live.decision_id, None)
            if here == vectors_of(slates.eligible(live)):
                same.add(live.decision_id)
                vectors += here[0]
            else:
                otherwise += 1
    low, _ = await bounds(journal.cluster, topic, number)
    # Where nothing was trimmed, what is not there is a difference like any other.
    return Audit(len(same) + otherwise, vectors, len(left), otherwise + (0 if low else len(left)))

"""A person's decision, made again: a fold of that person's records alone, up to it. It only reads, and writes nothing down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from agents.explained import Explained
from deploy.folding import Folded, folded, keys_of
from deploy.journal import whole_journal
from deploy.snapshots import begun
from deploy.stack.running import RunningStack
from oo.v1 import row_pb2
from streams.partitioner import partition_of
from streams.reader import end_offsets
from tables import marks


@dataclass(slots=True)
class Asked:
    """What was found of one person."""

    explained: Explained | None = None
    """The decision that was asked for; None where there was none."""
    after: Counter[str] = field(default_factory=Counter)
    """Records of theirs behind it, up to the time that was asked for, by what they are: none of them made another decision."""
    row: row_pb2.UserRow | None = None
    """As it stood behind the last of these."""
    from_offset: int = 0
    """Where the fold began."""


async def asked(stack: RunningStack, whose: str, *, decision_id: str = "", at_ms: int | None = None) -> Asked:
    """The decision of this id, or the last one at that time, or the last of all. Raises BeginningGone as a fold does."""
    number = partition_of(whose.encode(), stack.cluster.topics["journal"].partitions)
    end = (await end_offsets(stack.cluster, stack.cluster.name("journal")))[number]
    journal = await begun(stack, await whole_journal(stack), [number], from_snapshot=False)
    begin, found = journal.snapshots.get(number), Asked()
    keys = await keys_of(journal, number)
    if begin is not None:
        found.from_offset = begin.offset + 1
    async for one in folded(journal, number, keys=keys, end=end, begin=begin, users={whose}):
        if one.entry.user_id != whose:
            continue
        now_ms = one.after.now_ms if one.after is not None else one.entry.time_ms
        if at_ms is not None and now_ms > at_ms:
            break
        decision = one.outputs.decision
        if decision is None:
            found.after[one.entry.record.WhichOneof("payload") or "nothing"] += 1
            found.row = one.after
        elif decision_id in ("", decision.decision_id):
            found.explained, found.row = _explained(one), one.after
            found.after.clear()
            if decision_id:
                break
    return found


def _explained(one: Folded) -> Explained:
    decision, row = one.outputs.decision, one.after
    assert decision is not None and row is not None, "a decision leaves a row"
    return Explained(decision, row, one.state.versions[marks.version_at(one.state.marks, offset=one.entry.offset)])

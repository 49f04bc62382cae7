"""Folds one partition of the journal and holds what is live, or a row snapshot, against it.

It shares `step` with the product, so it finds what was lost, doubled or torn on the way, and cannot see a wrong `step`. It only reads, and of other
servers than Kafka it is given what they have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from agents import rows
from agents.fold import taught
from agents.rows import order_in
from deploy.differing import Differences, LiveRows, Served, kept, same
from deploy.folding import Journal, folded, keys_of, read, read_snapshot
from deploy.scratch import Rows, Scratch, scratch
from deploy.stretch import History, Stretch
from oo.v1 import row_pb2
from streams.reader import bounds
from streams.sealing import Keys
from tables import slates
from tables.marginal import Epoch
from tables.snapshots import Snapshot
from tables.store import MemoryStore, Store
from tables.table import merge
from tables.totals import Totals

HELD_RECORDS_MAX = 2_000
"""Of a changelog: fewer are held in memory, as a disk takes longer to make than they to read."""


@dataclass(slots=True)
class Part:
    """What one partition's fold was held against, and where the two differ."""

    partition: int
    start: int = 0
    """Where the fold began."""
    cut: int = 0
    """What stands below is compared, and what is live ahead of it too."""
    rows: int = 0
    vectors: int = 0
    """Of features, one for each candidate of each decision."""
    decisions: int = 0
    outcomes: int = 0
    requests: int = 0
    deliveries: int = 0
    tips: int = 0
    settings: int = 0
    differences: Differences = field(default_factory=Differences)


@dataclass(slots=True)
class Live:
    """What is live of a partition, all of it read after its cut."""

    rows: LiveRows
    tips: Served | None = None
    settings: Served | None = None
    history: History | None = None
    outputs: Mapping[str, tuple[History, int]] = field(default_factory=dict)
    """Requests and deliveries, by these names (deploy.asked): of records below the offset none need be there any more."""

    @property
    def end(self) -> int:
        """Behind the last record that any of it is of."""
        return max(self.rows.end, *(one.end for one in (self.tips, self.settings) if one is not None), 0)


async def live_rows(journal: Journal, number: int, scratch: Scratch) -> LiveRows:
    """What the changelog makes of a partition's rows now."""
    begin, end = await bounds(journal.cluster, journal.cluster.name("rows"), number)
    few = end - begin <= HELD_RECORDS_MAX
    store: Store = MemoryStore(head=rows.head) if few else scratch("live", rows.head)
    pairs = ([(one.key, one.value) for one in records] async for records in read(journal, "rows", number))
    await merge(pairs, store, head=rows.head, order=order_in(journal.topic_id))
    return LiveRows(store, journal_id=journal.topic_id)


async def compare(
    journal: Journal,
    number: int,
    live: Live,
    *,
    cut: int,
    keys: Keys,
    scratch: Scratch,
    progress: Callable[[int], None],
) -> Part:
    """Fold one partition to its cut, and on to what is live ahead of it, and hold each against the other on the way.

    `live` was read before `keys` were, and `keys` before `journal` was: who leaves meanwhile is no difference. Raises what `folded` does.
    """
    begin = journal.snapshots.get(number)
    part = Part(partition=number, start=0 if begin is None else begin.offset + 1, cut=cut)
    mine = Rows(scratch)
    state = replace(journal.state(number), rows=mine)
    stretch = Stretch(live.history, part.differences, start=part.start, cut=cut, from_ms=journal.history_from_ms)
    outputs = {}
    for name in ("request", "delivery"):
        held, begins = live.outputs.get(name, (None, 0))
        outputs[name] = Stretch(
            *(held, part.differences), start=max(part.start, begins), cut=cut, from_ms=0, names=(name,), where="Kafka"
        )
    end, stretches = max(cut, live.end), (stretch, *outputs.values())
    async for one in folded(journal, number, keys=keys, end=end, begin=begin, state=state, progress=progress):
        user_id, offset = one.entry.user_id, one.entry.offset
        live.rows.see(user_id, one.before, cut=cut, keys=keys)
        live.rows.see(user_id, one.after, cut=cut, keys=keys)
        for served, said in ((live.tips, one.outputs.tip), (live.settings, one.outputs.settings)):
            if served is not None and said is not None:
                served.see(said, below_cut=offset < cut, keys=keys)
        if offset < cut:
            for each in stretches:
                if each.full:
                    await each.compare(offset)
            if (decision := one.outputs.decision) is not None:
                part.vectors += slates.length(decision)
                stretch.add("decision", kept(decision))
            for outcome in one.outputs.outcomes:
                stretch.add("outcome", kept(outcome))
            if (request := one.outputs.request) is not None:
                outputs["request"].add("request", kept(request))
            if (delivery := one.outputs.delivery) is not None:
                outputs["delivery"].add("delivery", kept(delivery))
    for each in stretches:
        await each.compare(cut)
    for user_id, fence in mine.fences():
        part.rows += 1
        # What nothing was folded over since the snapshot.
        if begin is not None and int.from_bytes(fence[1:9], "little") < part.start and (row := mine.get(user_id)):
            live.rows.see(user_id, row_pb2.UserRow.FromString(row), cut=cut, keys=keys)
    part.differences.take(live.rows.differences(leavers=journal.leavers))
    for served in (live.tips, live.settings):
        if served is not None:
            part.differences.take(served.differences(start=part.start, leavers=journal.leavers))
    for each in stretches:
        await each.settle()
    part.decisions, part.outcomes = stretch.compared["decision"], stretch.compared["outcome"]
    part.requests, part.deliveries = (outputs[name].compared[name] for name in ("request", "delivery"))
    part.tips, part.settings = (0 if one is None else one.met for one in (live.tips, live.settings))
    return part


async def compare_part(journal: Journal, number: int, end: int, progress: Callable[[int], None]) -> Part:
    """The same of rows alone."""
    with scratch() as made:
        live = Live(await live_rows(journal, number, made))
        keys = await keys_of(journal, number)
        return await compare(journal, number, live, cut=end, keys=keys, scratch=made, progress=progress)


async def compare_snapshot(
    journal: Journal, one: Snapshot, *, epochs: Mapping[int, Epoch], progress: Callable[[int], None]
) -> Differences:
    """Folds the journal up to a snapshot, and holds its rows and totals against what stands in it. Raises Damaged, BeginningGone."""
    keys, found = await keys_of(journal, one.partition), Differences()
    about, theirs, _ = read_snapshot(one.path, keys=keys, leavers=journal.leavers)
    if about.journal.topic_id != journal.topic_id:
        found.add(f"{one.path} is of another journal")
        return found
    mine = await fold_rows(journal, one.partition, end=one.offset + 1, keys=keys, progress=progress)
    for user_id in sorted(mine.keys() | theirs.keys()):
        if user_id not in mine or user_id not in theirs:
            found.add(f"row of {user_id}: only {'in the snapshot' if user_id in theirs else 'in the fold'}")
        elif not same(mine[user_id], theirs[user_id]):
            sizes = f"{len(mine[user_id])} bytes in the fold, {len(theirs[user_id])} in the snapshot"
            found.add(f"row of {user_id}: {sizes}, not the same")
    if not journal.leavers.times(one.partition, above=one.offset, to=sys.maxsize):
        totals = Totals(epochs=epochs)
        for row in theirs.values():
            totals.replace(None, taught(row_pb2.UserRow.FromString(row)))
        if totals.to_bytes() != about.totals:
            found.add(f"totals of partition {one.partition}: not the sum of the rows")
    return found


async def fold_rows(
    journal: Journal, number: int, *, end: int, keys: Keys, progress: Callable[[int], None]
) -> dict[str, bytes]:
    """The rows that one partition's fold gives."""
    found = dict[str, bytes]()
    state = replace(journal.state(number), rows=found)
    begin = journal.snapshots.get(number)
    async for _ in folded(journal, number, keys=keys, end=end, begin=begin, state=state, progress=progress):
        pass
    return found

"""One assigned journal partition while it is worked on: its fold, its rows on disk, its next wakes, what people taught.

It never reads or writes a topic but through its table, and never decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from agents.erasure import is_stub
from agents.features import VERSION
from agents.fold import PartitionState, taught
from agents.rows import MARKS_KEY, TableRows, order_in, orders_and_wakes, wake_of
from agents.set_aside import Aside
from agents.timers import Timers
from oo.v1 import journal_pb2, policy_pb2, row_pb2
from streams.clock import clock_ms
from streams.frames import Frames
from streams.record import Record
from streams.sealing import Keys, open_row
from streams.wire import payload
from tables.leavers import Leavers
from tables.sums import Taught
from tables.table import Table
from tables.totals import Totals, messages

TOTALS = b"totals"
"""Beside the rows on their disk: what people taught, added up."""
AHEAD_MS = 3_600_000
"""Next wakes within this time stand in memory; the rows' heads have the others."""
LOOKED_OVER_AT_ONCE = 2_000
NOBODY = row_pb2.UserRow()
COUNTED_AT_ONCE = 100
"""Rows between two looks at anything else."""


@dataclass(slots=True)
class Assigned:
    """One assigned partition, of the journal of this id."""

    state: PartitionState
    table: Table
    rows: TableRows
    """Of `state`, in `table`."""
    totals: Totals
    """Of `state`: kept up with every batch."""
    journal_id: bytes
    aside: Aside
    """What the fold passes over."""
    timers: Timers = field(default_factory=Timers)
    withheld_until: int = -1
    """Sums are not published before the fold has passed this journal offset: rows may be ahead of the commit."""
    begun: int = -1
    """The last offset below the commit when the partition came here: the rows had all of it."""
    folding: int = -1
    """The last offset that was folded."""
    folded: int = -1
    """The last offset that is in the totals."""
    counting: asyncio.Task[None] | None = None
    """Adds the totals up anew and settles what was loaded, where the disk did not have them."""
    stored_changes: int = 0
    """Of the totals, when they were last written to the disk."""
    gone: bool = False
    left: list[bytes] = field(default_factory=list)
    """Those of the rows that were cut last who have left: once their stubs are acknowledged, their keys are to go."""
    _wakes: dict[str, int] = field(default_factory=dict)
    """Next wakes of the rows that are being written."""
    _cut: bool = False
    """Rows are being written: the totals are ahead of the disk."""
    _awaiting: Callable[[], None] | None = None
    """To be called once they are."""
    _published: bytes = b""

    def close(self) -> None:
        """Give the disk back; what is on it stays."""
        self.gone = True
        if self.counting is not None:
            self.counting.cancel()
        self.table.close()

    def holds(self, record: Record) -> bool:
        """Whether this person's row on disk has the record's effect already; the row itself is not parsed."""
        (front,) = self.table.store.heads([record.key or b""])
        return front is not None and order_in(self.journal_id)(front) >= record.offset

    def cut(self, schemas: Frames) -> dict[bytes, bytes]:
        """Return the rows to write for what has been folded; the fold goes on from them, also before they are written."""
        changed = self.state.changed()
        stubs = {user_id for user_id in changed if is_stub(self.state.row(user_id) or NOBODY)}
        self.left = [user_id.encode() for user_id in stubs]
        values = dict(
            self.rows.framed(user_id, message, is_open=user_id in stubs) for user_id, message in changed.items()
        )
        marks = self.state.changed_marks()
        if marks is not None:
            values[MARKS_KEY] = schemas.frame("rows", marks)
        self._wakes = {user_id: wake_of(message) for user_id, message in changed.items()}
        self.state.acknowledge()
        self.folded, self._cut = self.folding, True
        return values

    def commit(self, values: Mapping[bytes, bytes]) -> None:
        """Write what was cut to the disk, with what belongs to it, at once; the changelog has it."""
        self.rows.settle(values)
        self._cut = False
        side = {}
        if self.counting is None and self.stored_changes != self.totals.changes:
            side[TOTALS] = self.totals.to_bytes()
            self.stored_changes = self.totals.changes
        self.table.commit(side)
        for user_id, wake_ms in self._wakes.items():
            self.timers.set(user_id, wake_ms=wake_ms)
        if self._awaiting is not None:
            call, self._awaiting = self._awaiting, None
            call()

    def when_level(self, call: Callable[[], None]) -> None:
        """Call it when rows on the disk, totals and `folded` are of one moment: now, or once the rows that were cut are written."""
        if self._cut:
            self._awaiting = call
        elif not self.gone:
            call()

    @property
    def level(self) -> int | None:
        """The last record that rows and totals have all of; None while the totals are counted, or rows are ahead of the fold.

        After a start, until something is folded, they have all of what is below the commit.
        """
        offset = max(self.folded, self.begun)
        return None if self.counting is not None or offset < max(self.withheld_until, 0) else offset

    async def look_over(self, *, folding: bool = True) -> tuple[int, int]:
        """Set the timers for the time ahead, from the rows' heads; returns how many there are, and the greatest offset.

        `folding`: rows may change meanwhile, so those that wake soon are asked for again.
        """
        store = self.table.store
        until_ms = self.timers.until_ms = clock_ms() + AHEAD_MS
        count, greatest = 0, -1
        scan = store.scan()
        while some := list(islice(scan, LOOKED_OVER_AT_ONCE)):
            count += len(some)
            fences = orders_and_wakes([front for _, front in some], journal_id=self.journal_id)
            greatest = max(greatest, *[order for order, _ in fences])
            soon = [
                (key, wake_ms)
                for (key, _), (_, wake_ms) in zip(some, fences, strict=True)
                if 0 < wake_ms <= until_ms and key != MARKS_KEY
            ]
            if folding:
                fronts = store.heads([key for key, _ in soon])
                soon = [(key, 0 if now is None else wake_of(now)) for (key, _), now in zip(soon, fronts, strict=True)]
            for key, wake_ms in soon:
                self.timers.set(key.decode(), wake_ms=wake_ms)
            await asyncio.sleep(0)
            if self.gone:
                break
        return count, greatest

    async def count(self, rows: Iterator[tuple[bytes, bytes]], *, counted: Totals, keys: Keys) -> None:
        """Add up into `counted` what the rows teach, as they stood at the start; what changes meanwhile adds itself.

        Beside that, rows that were loaded come to where they stay on the disk.
        """
        store = self.table.store
        for number, (key, value) in enumerate(rows):
            if key != MARKS_KEY:
                counted.replace(None, taught_by(key, value, keys=keys))
            if number % COUNTED_AT_ONCE == 0:
                store.move_loaded(COUNTED_AT_ONCE)
                await asyncio.sleep(0)
        while store.move_loaded(COUNTED_AT_ONCE):  # noqa: ASYNC110 - it does something at every turn
            await asyncio.sleep(0)
        self.totals.merge(counted)
        self.counting = None
        if self._cut:
            self.stored_changes = -1  # They go with the rows that they hold already.
        else:
            self.table.commit({TOTALS: self.totals.to_bytes()})

    def sums(self, leavers: Leavers, *, whose: bytes) -> policy_pb2.PartitionSums | None:
        """What is to be published now, naming the offset that it covers; None where nothing changed or may be said.

        `whose`: the key of the day, under which it is said anew though nothing else changed. Raises what ended the counting.
        """
        if self.counting is not None and self.counting.done():
            self.counting.result()
        if (offset := self.level) is None:
            return None
        number = self.state.partition
        said = policy_pb2.PartitionSums(
            journal=journal_pb2.Position(topic_id=self.journal_id, partition=number, offset=offset),
            totals=messages(self.totals, feature_version=VERSION),
            erasures=len(leavers.times(number, above=-1, to=offset)),
            since_sequence=self.state.sequence_at(offset),
            others=len(self.state.others),
            whose=whose,
        )
        return None if _content(said) == self._published else said

    def published(self, sums: policy_pb2.PartitionSums) -> None:
        """Record these sums as acknowledged: the same ones need not be said again."""
        self._published = _content(sums)


def taught_by(key: bytes, value: bytes | None, *, keys: Keys) -> Taught | None:
    """Read from a framed row what its person taught. Raises KeyMissing."""
    if value is None:
        return None
    return taught(row_pb2.UserRow.FromString(open_row(payload(value), whose=key, keys=keys)))


def _content(sums: policy_pb2.PartitionSums) -> bytes:
    """What of it is worth saying anew: not how far it reaches, nor what the version is, which `learn` knows."""
    content = policy_pb2.PartitionSums(totals=sums.totals, erasures=sums.erasures, whose=sums.whose)
    return content.SerializeToString(deterministic=True)

"""Brings the rows of a partition that was assigned up to their changelog, and what is kept beside them up to the rows.

It folds nothing: what the journal holds beyond the rows is `recommend`'s to fold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from agents.assigned import TOTALS, Assigned, taught_by
from agents.fold import PartitionState
from agents.rows import MARKS_KEY, TableRows, head, order_in, orders_in
from agents.set_aside import Aside
from agents.versions import Versions
from oo.v1 import row_pb2
from streams.cluster import Cluster
from streams.frames import Frames
from streams.keys import Keys
from streams.producer import Producer
from streams.reader import bounds, read_values
from streams.sealing import KeyMissing
from streams.wire import payload
from tables.row import fence_of
from tables.store import Store
from tables.table import Pairs, Table
from tables.totals import Totals

logger = logging.getLogger(__name__)


LOST = b"lost"
"""In the place of the totals, where they could not be kept up with the rows."""


class OtherJournal(Exception):
    """The rows were folded from another journal than the one that is there."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Where rows are recovered from: the disk, and the changelog in this cluster."""

    cluster: Cluster
    journal_id: bytes
    schemas: Frames
    keys: Keys
    producer: Producer
    versions: Versions
    open_store: Callable[[int], Store]
    committed: Callable[[int], Awaitable[int | None]]
    """Offset up to which a partition of the journal is committed."""
    aside: Callable[[], Awaitable[Mapping[int, Aside]]]
    """What every fold passes over, by partition of the journal, as it is now; who has left is known by then too."""

    async def recover(self, number: int) -> tuple[Assigned, int]:
        """Return the partition, ready to be folded on, and the changelog offset up to which it was read.

        Raises OtherJournal where there are rows and none is of this journal: going on would mix two logs in one row.
        """
        store = self.open_store(number)
        try:
            return await self._recover(number, store)
        except BaseException:
            # Given back: the partition may come again to this very process.
            store.close()
            raise

    async def _recover(self, number: int, store: Store) -> tuple[Assigned, int]:
        changelog = self.cluster.name("rows")
        table = Table(
            store,
            head=head,
            order=order_in(self.journal_id),
            orders=orders_in(self.journal_id),
            produce=lambda key, value: self.producer.produce(changelog, key=key, value=value, partition=number),
            name=f"rows-{number}",
        )
        # Before the rows are: they have all that is below it.
        committed = await self.committed(number) or 0
        low, end = await bounds(self.cluster, changelog, number)
        # Of every epoch that a row below that end may name.
        await self.versions.catch_up()
        # And every key that one is sealed with.
        await self.keys.catch_up()
        known, lost = store.side(TOTALS), False
        known = None if known == LOST else known
        totals = Totals.from_bytes(known or b"", epochs=self.versions.epochs)

        def read(start: int) -> AsyncIterator[Pairs]:
            return read_values(self.cluster, changelog, number, start=start, end=end)

        def recount(changes: Mapping[bytes, bytes | None]) -> Mapping[bytes, bytes]:
            nonlocal lost
            if known is None or lost:
                return {}
            try:
                for key, value in changes.items():
                    if key != MARKS_KEY:
                        totals.replace(
                            taught_by(key, store.get(key), keys=self.keys), taught_by(key, value, keys=self.keys)
                        )
            except KeyMissing:
                # Of somebody who left meanwhile: nobody can say any more what their row taught, so all is counted anew.
                lost = True
                return {TOTALS: LOST}
            return {TOTALS: totals.to_bytes()}

        done = await table.recover(low=low, end=end, read=read, side=recount)
        counted = known is not None and not lost and not done.rebuilt
        if not counted:
            totals = Totals(epochs=self.versions.epochs)
        rows = TableRows(table, header=self.schemas.header("rows", row_pb2.UserRow), keys=self.keys)
        state = PartitionState(
            partition=number,
            versions=self.versions,
            rows=rows,
            totals=totals,
            marks=await self._marks(store),
            committed=committed,
        )
        assigned = Assigned(
            state=state,
            table=table,
            rows=rows,
            totals=totals,
            journal_id=self.journal_id,
            aside=(await self.aside()).get(number) or Aside(),
            stored_changes=totals.changes,
            begun=committed - 1,
        )
        count, assigned.withheld_until = await assigned.look_over(folding=False)
        if count and assigned.withheld_until < 0:
            raise OtherJournal(
                f"partition {number}: none of its {count} rows in {changelog} is of the journal that is there, which "
                f"was made anew. Bring the old journal back; or, to begin without all that people did, delete "
                f"{changelog} too: 'oo up' makes it again"
            )
        if not counted:
            counting = assigned.count(store.values(), counted=Totals(epochs=self.versions.epochs), keys=self.keys)
            assigned.counting = asyncio.create_task(counting, name=f"totals-{number}")
        logger.info(
            "partition.recovered partition=%d rows=%d read=%d from=%d put_again=%d offset=%d",
            number,
            count,
            done.records,
            done.start,
            done.put_again,
            assigned.withheld_until,
        )
        return assigned, end

    async def _marks(self, store: Store) -> row_pb2.PartitionRow:
        """The marks of this journal, once every version that they name is known."""
        value = store.get(MARKS_KEY)
        # Offsets of another journal say nothing about this one; learn marks the newest version here anew.
        if value is None or fence_of(payload(value)).topic_id != self.journal_id:
            return row_pb2.PartitionRow()
        marks = row_pb2.PartitionRow.FromString(payload(value))
        for applied in marks.marks:
            await self.versions.wait_for(applied.mark.version_id)
        return marks

"""Cuts: has the rows of each partition that is here put away as they stand at one record of its journal (tables/snapshots.py), now and then.

A cut is made between two batches, when rows on the disk, totals and the last record are of one moment; it is a view of the store, which
takes some microseconds, and later writes do not reach it. What it shows is copied out beside the work. A folder that cannot be
written keeps no record from being folded, and nothing here trims a journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import NamedTuple

from agents.assigned import Assigned
from agents.step import STEP_VERSION
from oo.v1 import journal_pb2, snapshot_pb2
from streams.clock import clock_ms
from streams.units import SECOND_MS
from tables.snapshots import Snapshots, Writer, to_drop

logger = logging.getLogger(__name__)

LOOKED_EVERY_S = 1.0
FIRST_AFTER_S = 600.0
"""Where there is none, after a start."""
AGAIN_AFTER_S = 600.0
"""After one that could not be written."""
ROWS_AT_ONCE = 16
TURN_S = 0.001
TURN_BYTES = 128 * 1024
"""Rows are read for so long, or until they have so many bytes; then the loop is left for nine times as long."""
REST = 9


class _Cut(NamedTuple):
    assigned: Assigned
    about: snapshot_pb2.Snapshot
    rows: Iterator[tuple[bytes, bytes]]


class Cuts:
    """When each partition's turn is, and what is being copied."""

    def __init__(
        self, snapshots: Snapshots, *, every_s: float, spaced_ms: int, low: Callable[[int], Awaitable[int]]
    ) -> None:
        """`low(number)`: where a partition of the journal begins now; `spaced_ms`: as `to_drop`'s."""
        self._snapshots = snapshots
        self._every_ms = round(every_s * SECOND_MS)
        self._spaced_ms = spaced_ms
        self._low = low
        self._first_ms = clock_ms() + round(FIRST_AFTER_S * SECOND_MS)
        self._made_ms: dict[int, int] = {}
        """When the newest of each partition that is here was made; 1 for none."""
        self._due_ms: dict[int, int] = {}
        """When the next one is, unless somebody asks for it."""
        self._not_before_ms = 0
        self._taken: list[_Cut] = []

    async def look(self, assigned: Mapping[int, Assigned]) -> None:
        """Cut what is due, and copy it out. Raises StoreFailed."""
        for number in self._made_ms.keys() - assigned.keys():
            del self._made_ms[number]
        if clock_ms() < self._not_before_ms:
            return
        try:
            for one in await self._due(assigned):
                one.when_level(partial(self._cut, one))
            while self._taken:
                await self._copy(self._taken.pop())
        except OSError as error:
            logger.error("snapshot.failed why=%s", error)  # noqa: TRY400 - what happened is in the line
            self._not_before_ms = clock_ms() + round(AGAIN_AFTER_S * SECOND_MS)
            self._made_ms.clear()

    async def _due(self, assigned: Mapping[int, Assigned]) -> list[Assigned]:
        wanted_ms, now_ms = await asyncio.to_thread(lambda: self._snapshots.wanted_ms), clock_ms()
        for number in assigned.keys() - self._made_ms.keys():
            # New here.
            newest_ms = await asyncio.to_thread(self._newest_ms, number)
            self._made_ms[number] = newest_ms or 1
            self._due_ms[number] = newest_ms + self._every_ms if newest_ms else self._first_ms
        return [
            one
            for number, one in assigned.items()
            if number in self._made_ms and (self._made_ms[number] <= wanted_ms or now_ms >= self._due_ms[number])
        ]

    def _newest_ms(self, number: int) -> int:
        """When the newest of a partition was made, 0 for none; what former owners left half written is gone."""
        self._snapshots.sweep()
        self._snapshots.sweep_unfinished(number)
        found = self._snapshots.all(number)
        return found[-1].made_ms if found else 0

    def _cut(self, assigned: Assigned) -> None:
        """A view of the partition as it stands; none where rows and totals are not of one record."""
        state, offset = assigned.state, assigned.level
        if offset is None:
            return
        made_ms = self._made_ms[state.partition] = clock_ms()
        self._due_ms[state.partition] = made_ms + self._every_ms
        about = snapshot_pb2.Snapshot(
            journal=journal_pb2.Position(topic_id=assigned.journal_id, partition=state.partition, offset=offset),
            step_version=STEP_VERSION,
            made_ms=made_ms,
            totals=assigned.totals.to_bytes(),
        )
        self._taken.append(_Cut(assigned, about, assigned.table.store.values()))

    async def _copy(self, cut: _Cut) -> None:
        # Each call that touches the folder is a thread's: a network's may hang, and the fold goes on.
        place, writer = cut.about.journal, await asyncio.to_thread(self._snapshots.begin, cut.about)
        try:
            if not await _written(cut, writer):
                return
            await asyncio.to_thread(writer.finish)
        finally:
            await asyncio.to_thread(writer.abandon)
        await self._clear(place.partition)
        logger.info("snapshot.made partition=%d offset=%d", place.partition, place.offset)

    async def _clear(self, number: int) -> None:
        low = await self._low(number)

        def clear() -> None:
            self._snapshots.drop(to_drop(self._snapshots.all(number), low=low, spaced_ms=self._spaced_ms))

        await asyncio.to_thread(clear)


async def _written(cut: _Cut, writer: Writer) -> bool:
    """Copy it out in turns; False where the partition went elsewhere meanwhile, and took its rows along."""
    loop = asyncio.get_running_loop()
    more = True
    while more:
        began_s, size, some = loop.time(), 0, list[tuple[bytes, bytes]]()
        while more and size < TURN_BYTES and loop.time() - began_s < TURN_S:
            found = list(islice(cut.rows, ROWS_AT_ONCE))
            some += found
            size += sum(len(value) for _, value in found)
            more = bool(found)
        spent_s = loop.time() - began_s
        await asyncio.to_thread(writer.add, some)
        await asyncio.sleep(REST * spent_s)
    return not cut.assigned.gone

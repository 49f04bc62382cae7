"""Guards the changelog of the partitions that are here against a worker that was stopped and woke up.

Such a worker may still write a row that is older than ours behind it, and compaction keeps the last row, not the
greatest. The owner therefore reads its own changelog, and where a smaller journal offset follows a greater one it writes
its own row again. It never touches a row that is not below its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from streams.frames import payload
from streams.reader import Follower
from streams.record import Record
from tables.row import fence_of

logger = logging.getLogger(__name__)


class Guard:
    """One per process, over `oo.rows`."""

    def __init__(
        self,
        follower: Follower,
        *,
        journal_id: bytes,
        fence_at: Callable[[int, bytes], int | None],
        write: Callable[[int, bytes], None],
    ) -> None:
        """`fence_at(partition, key)`: journal offset of our own row, None where there is none; `write` puts it again."""
        self._follower = follower
        self._journal_id = journal_id
        self._fence_at = fence_at
        self._write = write
        self._ours: dict[tuple[int, bytes], int] = {}
        """Changelog offset of our last write, until the follower has come past it."""

    def add(self, partition: int, *, start: int) -> None:
        """A partition was recovered from its changelog up to `start`."""
        self._follower.add(partition, start=start)

    def remove(self, partition: int) -> None:
        """It went elsewhere."""
        self._follower.remove(partition)
        for place in [place for place in self._ours if place[0] == partition]:
            del self._ours[place]

    def wrote(self, partition: int, key: bytes, *, offset: int) -> None:
        """Our own row was acknowledged at this changelog offset: what stands before it is of no interest."""
        if offset >= self._follower.next_offset(partition):
            self._ours[partition, key] = offset

    async def run(self) -> None:
        """Read for ever."""
        async for records in self._follower:
            for record in records:
                self.check(record)
            await asyncio.sleep(0)

    def check(self, record: Record) -> None:
        """Look at one record of the changelog, and put our row again if this one is below it."""
        key = record.key or b""
        ours = self._ours.get((record.partition, key))
        if ours is not None and record.offset <= ours:
            if record.offset == ours:
                del self._ours[record.partition, key]
            return
        own = self._fence_at(record.partition, key)
        if own is None or record.value is None:
            return
        fence = fence_of(payload(record.value))
        if fence.topic_id != self._journal_id or fence.offset < own:
            logger.warning(
                "row.put_again partition=%d changelog_offset=%d journal_offset=%d", record.partition, record.offset, own
            )
            self._write(record.partition, key)

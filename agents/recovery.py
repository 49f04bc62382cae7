"""Rebuilds a partition's state from its changelog, `oo.rows`.

Keeps the greatest journal offset per key, never merely the last: a worker that was stopped and woke up may have
written an older row after a newer one. It never reads the journal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from oo.v1 import row_pb2
from streams.frames import payload
from streams.record import Record
from tables.row import Fence, fence_of

MARKS_KEY = b"\x00marks"
"""Key of the partition row; user ids hold no control characters."""


@dataclass(slots=True)
class Recovered:
    """What the changelog holds: the greatest row per user, the partition row, and what has to be put again."""

    rows: dict[str, bytes] = field(default_factory=dict)
    fences: dict[str, Fence] = field(default_factory=dict)
    marks: row_pb2.PartitionRow = field(default_factory=row_pb2.PartitionRow)
    put_again: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(key, framed value) of greatest rows that a smaller one follows: compaction would keep the smaller."""
    offset: int = -1
    """The greatest journal offset among the rows."""
    end: int = 0
    """The changelog's offset after the last record read."""


async def recover(changelog: AsyncIterator[list[Record]], *, topic_id: bytes) -> Recovered:
    """Read the changelog to its end. Rows of another journal (another topic id) give way to rows of this one."""
    greatest: dict[bytes, tuple[tuple[bool, int], bytes]] = {}
    last: dict[bytes, bytes] = {}
    end = 0
    async for records in changelog:
        for record in records:
            end = record.offset + 1
            assert record.key is not None, "rows are keyed"
            if record.value is None:
                greatest.pop(record.key, None)
                last.pop(record.key, None)
                continue
            fence = fence_of(payload(record.value))
            order = (fence.topic_id == topic_id, fence.offset)
            last[record.key] = record.value
            if record.key not in greatest or order >= greatest[record.key][0]:
                greatest[record.key] = (order, record.value)
    found = Recovered(end=end)
    for key, (_, value) in greatest.items():
        message = payload(value)
        if last[key] != value:
            found.put_again.append((key, value))
        if key == MARKS_KEY:
            # Offsets of another journal say nothing about this one; learn marks the newest version here anew.
            if fence_of(message).topic_id == topic_id:
                found.marks = row_pb2.PartitionRow.FromString(message)
            continue
        user_id = key.decode()
        fence = fence_of(message)
        found.rows[user_id] = message
        found.fences[user_id] = fence
        if fence.topic_id == topic_id:
            found.offset = max(found.offset, fence.offset)
    return found

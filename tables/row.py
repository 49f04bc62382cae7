"""A person's row: what fences it, and how it looks with everything that it keeps packed spelled out."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from oo.v1 import row_pb2


@dataclass(frozen=True, slots=True)
class Fence:
    """What recovery, the timer and a compare need of a row, without parsing the rest of it."""

    topic_id: bytes
    offset: int
    next_wake_ms: int


BLOCKS = tuple(field.name for field in row_pb2.UserRow.DESCRIPTOR.fields if 40 <= field.number < 60)
"""What holds in blocks of columns, and in texts beside them, what other fields spell out."""

FENCE_BYTES = 36
"""Of its serialized front: two fixed64 with their tags, then a 16-byte topic id with tag and length."""


def fence_of(message: bytes) -> Fence:
    """Read the fixed front of a serialized UserRow or PartitionRow (without its frame).

    >>> row = row_pb2.UserRow(journal_offset=7, next_wake_ms=9, topic_id=bytes(16), user_id="ada")
    >>> fence_of(row.SerializeToString())
    Fence(topic_id=b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00', offset=7, next_wake_ms=9)
    """
    if len(message) < FENCE_BYTES or message[0] != 0x09 or message[9] != 0x11 or message[18:20] != b"\x1a\x10":
        raise ValueError("not a row: its fence is missing")
    return Fence(
        topic_id=message[20:36],
        offset=int.from_bytes(message[1:9], "little"),
        next_wake_ms=int.from_bytes(message[10:18], "little"),
    )


def spelled_out(row: row_pb2.UserRow) -> row_pb2.UserRow:
    """Return the same row with messages instead of blocks of columns: as operators and tests look at it.

    A row that was written before there were blocks gives the same as one of now, so that the two can be compared.
    Raises ValueError for a row that nobody of ours wrote.
    """
    # Not before: all of them are compiled, and who asks for a fence waits for none.
    from tables import backlog, pending, sums, taken, windows

    shown = row_pb2.UserRow()
    shown.CopyFrom(row)
    try:
        for part in (taken, backlog, windows, pending, sums):
            part.spell_out(shown)
    except (IndexError, StopIteration, struct.error) as error:
        raise ValueError("not a row: what it keeps does not fit together") from error
    return shown

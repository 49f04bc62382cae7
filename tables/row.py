"""A person's row: how it begins, what fences it, and which records it has already taken.

It never holds a record's effects; `agents.step` writes those.
"""

from __future__ import annotations

from dataclasses import dataclass

from oo.v1 import journal_pb2, row_pb2
from streams.units import DAY_MS

EVENT_KEYS_MAX = 256
EVENT_KEY_MS = 7 * DAY_MS
"""At the least: ids leave the row with the last of their UTC day."""
SOURCES_MAX = 64
"""Source partitions remembered per person: 8 of signals, 8 of reactions, and those of recreated topics."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What recovery, the timer and a compare need of a row, without parsing the rest of it."""

    topic_id: bytes
    offset: int
    next_wake_ms: int


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


def has_taken(row: row_pb2.UserRow, record: journal_pb2.JournalRecord, *, now_ms: int) -> bool:
    """True for a record that is in the row under another journal offset, or that its producer sent twice."""
    source = record.source
    for position in row.sources:
        if position.topic_id == source.topic_id and position.partition == source.partition:
            if source.offset <= position.offset and source.topic_id:
                return True
            break
    if not record.event_key:
        return False
    first_day = _first_day(now_ms)
    return any(one.day >= first_day and record.event_key in one.keys for one in row.event_keys)


def note_record(row: row_pb2.UserRow, record: journal_pb2.JournalRecord, *, now_ms: int) -> None:
    """Note in the row that this record was taken in."""
    if record.source.topic_id:
        for position in row.sources:
            if position.topic_id == record.source.topic_id and position.partition == record.source.partition:
                position.offset = record.source.offset
                break
        else:
            row.sources.append(record.source)
            del row.sources[:-SOURCES_MAX]
    if record.event_key:
        _note_key(row, record.event_key, now_ms=now_ms)


def _note_key(row: row_pb2.UserRow, key: int, *, now_ms: int) -> None:
    today = now_ms // DAY_MS
    if not row.event_keys or row.event_keys[-1].day != today:
        row.event_keys.add(day=today)
    row.event_keys[-1].keys.append(key)
    while row.event_keys[0].day < _first_day(now_ms):
        del row.event_keys[0]
    if sum(len(one.keys) for one in row.event_keys) > EVENT_KEYS_MAX:
        del row.event_keys[0].keys[0]
        if not row.event_keys[0].keys:
            del row.event_keys[0]


def _first_day(now_ms: int) -> int:
    return max(now_ms - EVENT_KEY_MS, 0) // DAY_MS

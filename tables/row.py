"""A person's row: how it begins, what fences it, and which records it has already taken.

It never holds a record's effects; `agents.step` writes those.
"""

from __future__ import annotations

from dataclasses import dataclass

from oo.v1 import journal_pb2, row_pb2

EVENT_KEYS_MAX = 256
EVENT_KEY_MS = 7 * 24 * 3600 * 1000
SOURCES_MAX = 64
"""Source partitions remembered per person: 8 of signals, 8 of reactions, and those of recreated topics."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What recovery, the timer and a compare need of a row, without parsing the rest of it."""

    topic_id: bytes
    offset: int
    next_wake_ms: int


_FENCE_BYTES = 36
"""Two fixed64 with their tags, then a 16-byte topic id with tag and length."""


def fence_of(message: bytes) -> Fence:
    """Reads the fixed front of a serialized UserRow or PartitionRow (without its frame).

    >>> row = row_pb2.UserRow(journal_offset=7, next_wake_ms=9, topic_id=bytes(16), user_id="ada")
    >>> fence_of(row.SerializeToString())
    Fence(topic_id=b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00', offset=7, next_wake_ms=9)
    """
    if len(message) < _FENCE_BYTES or message[0] != 0x09 or message[9] != 0x11 or message[18:20] != b"\x1a\x10":
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
    return any(
        key == record.event_key and time_ms > now_ms - EVENT_KEY_MS
        for key, time_ms in zip(row.event_keys, row.event_key_times_ms, strict=True)
    )


def take(row: row_pb2.UserRow, record: journal_pb2.JournalRecord, *, now_ms: int) -> None:
    """Notes in the row that this record is taken."""
    if record.source.topic_id:
        for position in row.sources:
            if position.topic_id == record.source.topic_id and position.partition == record.source.partition:
                position.offset = record.source.offset
                break
        else:
            row.sources.append(record.source)
            del row.sources[:-SOURCES_MAX]
    if record.event_key:
        pairs = [
            pair for pair in zip(row.event_keys, row.event_key_times_ms, strict=True) if pair[1] > now_ms - EVENT_KEY_MS
        ]
        pairs = [*pairs, (record.event_key, now_ms)][-EVENT_KEYS_MAX:]
        del row.event_keys[:]
        del row.event_key_times_ms[:]
        row.event_keys.extend(key for key, _ in pairs)
        row.event_key_times_ms.extend(time_ms for _, time_ms in pairs)

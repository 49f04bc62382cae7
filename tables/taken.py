"""Which journal records a row has already taken: how far into each source partition, and producers' own ids of late.

It never holds a record's effects; `agents.step` writes those.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from oo.v1 import journal_pb2, row_pb2
from streams.units import DAY_MS
from tables import columns
from tables.compiled import BYTES_FORM, Int, compiled
from tables.lanes import returned

KEYS_MAX = 256
EVENT_KEY_MS = 7 * DAY_MS
"""At the least: ids leave the row with the last of their UTC day."""
SOURCES_MAX = 64
"""Source partitions remembered per person: 8 of signals, 8 of reactions, and those of recreated topics."""

_TOPIC_FORM = struct.Struct("<qq")
"""The 16 bytes of a topic id, in two columns."""


class Taken(NamedTuple):
    """What a row says of it, with one record more."""

    already: bool
    """The record is in the row under another journal offset, or its producer sent it twice."""
    sources: bytes
    """Topic id in two columns, partition, and the greatest offset taken: a block of (4, N)."""
    keys: bytes
    """Day since 1970 and hash of the id that a producer gave, the oldest first: a block of (2, M)."""

    def write(self, row: row_pb2.UserRow) -> None:
        """Puts it into the row."""
        row.ClearField("sources")
        row.ClearField("event_keys")
        row.taken_sources, row.taken_keys = self.sources, self.keys


def take(row: row_pb2.UserRow | None, record: journal_pb2.JournalRecord, *, now_ms: int) -> Taken:
    """Looks whether a row has taken a record, and notes that it has. Raises ValueError for a row that nobody of ours wrote."""
    sources, keys = (b"", b"") if row is None else _blocks(row)
    source = record.source
    topic_id, key = source.topic_id, record.event_key
    high, low = _TOPIC_FORM.unpack(topic_id) if topic_id else (0, 0)
    already, fits, *noted = _take(
        sources,
        keys,
        (high, low, source.partition, source.offset) if topic_id else (0, 0, -1, 0),
        (now_ms // DAY_MS, columns.signed(key) if key else 0),
        max(now_ms - EVENT_KEY_MS, 0) // DAY_MS,
    )
    if not fits:
        raise ValueError("not a row: what it has taken is no block of columns")
    return Taken(already, *noted)


def spell_out(row: row_pb2.UserRow) -> None:
    """Puts it into the row as messages, instead of blocks: as operators and tests look at them."""
    blocks = _blocks(row)
    for name in ("sources", "event_keys", "taken_sources", "taken_keys"):
        row.ClearField(name)
    for high, low, partition, offset in columns.unpacked(blocks[0], width=4).T.tolist():
        row.sources.add(topic_id=_TOPIC_FORM.pack(high, low), partition=partition, offset=offset)
    for day, key in columns.unpacked(blocks[1], width=2).T.tolist():
        if not row.event_keys or row.event_keys[-1].day != day:
            row.event_keys.add(day=day)
        row.event_keys[-1].keys.append(key % (1 << 64))


def _blocks(row: row_pb2.UserRow) -> tuple[bytes, bytes]:
    sources_block, keys_block = row.taken_sources, row.taken_keys
    if sources_block or keys_block or not (row.sources or row.event_keys):
        return sources_block, keys_block
    # Written before there were blocks.
    sources = [(*_TOPIC_FORM.unpack(one.topic_id), one.partition, one.offset) for one in row.sources]
    keys = [(day.day, columns.signed(key)) for day in row.event_keys for key in day.keys]
    return columns.packed(columns.of(sources, width=4)), columns.packed(columns.of(keys, width=2))


@compiled(f"({BYTES_FORM}, {BYTES_FORM}, UniTuple(i8, 4), UniTuple(i8, 2), i8)")
def _take(
    sources_block: bytes, keys_block: bytes, source: tuple[Int, ...], key: tuple[Int, ...], first_day: Int
) -> tuple[bool, bool, bytes, bytes]:
    """Whether it was taken, whether the blocks are blocks, and both with the record noted. No source: partition -1; no key: 0."""
    sources, keys = columns.read(sources_block, np.int64(4)), columns.read(keys_block, np.int64(2))
    fits = sources.shape[0] == 4 and keys.shape[0] == 2
    if not fits:
        nothing = returned(np.empty(0, dtype=np.uint8))
        return False, False, nothing, nothing
    already = False
    if source[2] >= 0:
        at, n = np.int64(0), sources.shape[1]
        while at < n and (sources[0, at] != source[0] or sources[1, at] != source[1] or sources[2, at] != source[2]):
            at += 1
        if at < n:
            already = source[3] <= sources[3, at]
        else:
            over = max(n + 1 - SOURCES_MAX, 0)
            sources, at = columns.with_gap(sources, n, over), n - over
        for c in range(4):
            sources[c, at] = source[c]
    if key[1] != 0:
        begin, n = np.int64(0), keys.shape[1]
        while begin < n and keys[0, begin] < first_day:
            begin += 1
        for i in range(begin, n):
            already |= keys[1, i] == key[1]
        begin = max(begin, n + 1 - KEYS_MAX)
        keys = columns.with_gap(keys, n, begin)
        keys[0, n - begin], keys[1, n - begin] = key
    return already, True, returned(columns.written(sources)), returned(columns.written(keys))

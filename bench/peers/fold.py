"""The fold that every engine of the throughput benchmark runs, and how an engine says when it began and ended.

It imports generated code only: the peers have an environment without the product.
"""

from __future__ import annotations

import json
import os
import time
from bisect import bisect_left
from itertools import accumulate, pairwise

from oo.v1 import reaction_pb2, row_pb2

WIDTH_S = 6 * 3600
_BITS = 10


def fold(row: row_pb2.UserRow, value: bytes, *, offset: int) -> None:
    """Count one reaction in the row's window, once: the row's fence keeps a record that comes again out."""
    if row.HasField("journal_offset") and offset <= row.journal_offset:
        return
    row.journal_offset = offset
    reaction = reaction_pb2.Reaction.FromString(value)
    event_s = reaction.event_time.seconds
    row.user_id = reaction.user_id
    row.now_ms = max(row.now_ms, event_s * 1000)
    if not row.windows:
        row.windows.add(width_s=WIDTH_S)
    _count(row.windows[0], (event_s // WIDTH_S) << _BITS | reaction.kind << 6)


def _count(window: row_pb2.Window, key: int) -> None:
    keys = list(accumulate(window.key_steps))
    index = bisect_left(keys, key)
    if index < len(keys) and keys[index] == key:
        window.counts[index] += 1
        return
    keys.insert(index, key)
    window.counts.insert(index, 1)
    window.key_steps[:] = [after - before for before, after in pairwise((0, *keys))]


class Clock:
    """Says once when the first event was seen, and once when all stands: wall and processor time of all threads."""

    def __init__(self) -> None:
        self._begun = False

    def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._say("begun")

    def done(self) -> None:
        self._say("done")

    @staticmethod
    def _say(what: str) -> None:
        at = {"what": what, "wall_s": time.monotonic(), "cpu_s": time.process_time()}
        os.write(1, (json.dumps(at) + "\n").encode())

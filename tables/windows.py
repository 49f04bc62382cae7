"""Count of reactions over the last hour, day, week and four weeks, in buckets of event time inside the row.

Three widths of bucket are kept side by side instead of rolling one into the next: what a bucket holds depends on
the events alone, never on the order in which they came. It never reads a clock: `now_ms` is the row's event time.

    5 min  |·|·|·|·|·|·|·|·|·|·|·|·|·|                   1 h
    1 h    |···········|···········| ... |               24 h
    6 h    |                             ...           | 28 d (and 7 d from its later part)

What is kept are columns, (3, N): of each cell the width of its bucket in seconds, a key (bucket << 10 | reaction << 6 |
kind << 2 | part of the day) and a count, sorted by width and key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from oo.v1 import outcome_pb2, row_pb2
from streams.units import DAY_MS, HOUR_MS
from tables import columns
from tables.compiled import BYTES_FORM, Int, compiled
from tables.linear import Ints

SPANS_MS = {300: HOUR_MS, 3600: DAY_MS, 21600: 28 * DAY_MS}
"""Width of a bucket in seconds, and for how long buckets of that width are kept."""
_WIDTHS = tuple(SPANS_MS.items())

CELLS = 1 << 10
"""Of a key, below its bucket: four bits for the reaction, four for the kind of tip, two for the part of the day."""

_EXPLICIT = (int(outcome_pb2.Outcome.DONE), int(outcome_pb2.Outcome.SNOOZE), int(outcome_pb2.Outcome.DISMISS))
EXPLICIT_CELLS = (max(_EXPLICIT) + 1) << 6
"""Those of these reactions come before all others."""

KEYS_MAX = 2048
"""Of one width: past it the oldest buckets go first (28 days hold 112 buckets; a bucket seldom more than 4 cells)."""

NOTHING: Ints = np.zeros((3, 0), dtype=np.int64)
"""Windows in which nothing is counted yet."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is counted apart: a reaction (Outcome.Kind), a tip kind (Decision.TipKind), a part of the day."""

    reaction: int
    kind: int
    part: int

    @property
    def key(self) -> int:
        """A key without its bucket."""
        return self.reaction << 6 | self.kind << 2 | self.part

    @classmethod
    def of(cls, key: int) -> Cell:
        """Return what is counted under this key.

        >>> Cell.of(Cell(reaction=3, kind=4, part=2).key)
        Cell(reaction=3, kind=4, part=2)
        """
        return cls(key >> 6, key >> 2 & 15, key & 3)


Tally = Mapping[int, int]
"""Of one span: how often each cell, a key without its bucket."""


def block(row: row_pb2.UserRow) -> bytes:
    """Return the windows of a row's reactions as they are kept."""
    kept = row.counted
    return columns.packed(_in_columns(row.windows)) if not kept and row.windows else kept


def kept(row: row_pb2.UserRow) -> Ints:
    """Return the windows of a row's reactions."""
    return columns.unpacked(block(row), width=3)


def keep(row: row_pb2.UserRow, windows: Ints) -> None:
    """Put windows of reactions into a row."""
    row.ClearField("windows")
    row.counted = columns.packed(windows)


def unasked_block(row: row_pb2.UserRow) -> bytes:
    """Return the windows of a row's tips that were seen unasked, as they are kept."""
    kept = row.counted_unasked
    return columns.packed(_in_columns(row.unasked)) if not kept and row.unasked else kept


def unasked(row: row_pb2.UserRow) -> Ints:
    """Return the windows of a row's tips that were seen unasked."""
    return columns.unpacked(unasked_block(row), width=3)


def keep_unasked(row: row_pb2.UserRow, windows: Ints) -> None:
    """Put windows of tips that were seen unasked into a row."""
    row.ClearField("unasked")
    row.counted_unasked = columns.packed(windows)


def spell_out(row: row_pb2.UserRow) -> None:
    """Put all windows into the row as messages, instead of blocks: as operators and tests look at them."""
    counted, seen = _spelled(kept(row)), _spelled(unasked(row))
    for name in ("windows", "counted", "unasked", "counted_unasked"):
        row.ClearField(name)
    row.windows.extend(counted)
    row.unasked.extend(seen)


def add(windows: Ints, cell: Cell, *, event_ms: int, now_ms: int) -> Ints:
    """Return the windows with one more reaction at `event_ms`, and without what is too old for `now_ms`.

    >>> cell = Cell(reaction=1, kind=2, part=0)
    >>> windows = add(NOTHING, cell, event_ms=10 * HOUR_MS, now_ms=10 * HOUR_MS)
    >>> count(windows, now_ms=10 * HOUR_MS, span_ms=HOUR_MS, reaction=1), windows.shape
    (1, (3, 3))
    """
    into = np.empty((3, windows.shape[1] + len(SPANS_MS)), dtype=np.int64)
    return np.ascontiguousarray(into[:, : _add(windows, cell.key, event_ms, now_ms, into)])


def take_back(windows: Ints, cell: Cell, *, event_ms: int) -> Ints:
    """Return the windows without one such reaction that `add` counted at `event_ms`; a bucket that has gone stays gone.

    >>> cell = Cell(reaction=1, kind=2, part=0)
    >>> take_back(add(NOTHING, cell, event_ms=HOUR_MS, now_ms=HOUR_MS), cell, event_ms=HOUR_MS).shape
    (3, 0)
    """
    width_s, keys, counts = windows
    there = keys == event_ms // (width_s * 1000) * CELLS + cell.key
    left = windows.copy()
    left[2] -= there
    return np.ascontiguousarray(left[:, ~there | (counts > 1)])


def last(windows: Ints, *, now_ms: int, span_ms: int) -> Tally:
    """Return what the last `span_ms` hold, to the width of a bucket."""
    cells = np.zeros(CELLS, dtype=np.int64)
    count_cells(windows, now_ms, span_ms, _width_s(span_ms), cells)
    return {int(cell): int(cells[cell]) for cell in np.flatnonzero(cells)}


def count(
    windows: Ints,
    *,
    now_ms: int,
    span_ms: int,
    reaction: int,
    kind: int | None = None,
    part: int | None = None,
) -> int:
    """Return how many such reactions the last `span_ms` hold, to the width of a bucket."""
    return total(last(windows, now_ms=now_ms, span_ms=span_ms), reaction=reaction, kind=kind, part=part)


def total(tally: Tally, *, reaction: int, kind: int | None = None, part: int | None = None) -> int:
    """Return how many such reactions it holds."""
    return sum(
        n
        for cell, n in tally.items()
        if cell >> 6 == reaction
        and (kind is None or (cell >> 2) & 0xF == kind)
        and (part is None or cell & 0x3 == part)
    )


def falls_below_ms(windows: Ints, most: int, *, now_ms: int, span_ms: int, reaction: int, kind: int = 0) -> int:
    """When the last `span_ms` will hold fewer than `most` such reactions, if no more come; 0 where they do now.

    `kind`: of which kind of tip alone; 0 for all.

    >>> windows = add(NOTHING, Cell(reaction=4, kind=2, part=0), event_ms=0, now_ms=0)
    >>> falls_below_ms(windows, 1, now_ms=0, span_ms=HOUR_MS, reaction=4) // 60_000
    65
    """
    return int(_falls_below_ms(windows, most, now_ms, span_ms, _width_s(span_ms), reaction, kind))


@compiled("void(i8[:, ::1], i8, i8, i8, i8[::1])")
def count_cells(windows: Ints, now_ms: Int, span_ms: Int, width_s: Int, into: Ints) -> None:
    """Count each cell of a span, by a key without its bucket: into (CELLS,), or the first of these."""
    # The bucket that `now - span` falls into still counts: a window is never shorter than its name says.
    first = max(now_ms - span_ms, np.int64(0)) // (width_s * 1000) << 10
    for i in range(windows.shape[1]):
        cell = windows[1, i] & (CELLS - 1)
        if windows[0, i] == width_s and windows[1, i] >= first and cell < len(into):
            into[cell] += windows[2, i]


@compiled("i8(i8[::1], i8, i8)")
def share_64(cells: Ints, reaction: Int, kind: Int) -> Int:
    """The share of `reaction` among done, snooze and dismiss in units of 1/64, smoothed by three of each kind's third.

    >>> share_64(np.zeros(CELLS, dtype=np.int64), 1, 2)
    21
    """
    asked = of_kind = np.int64(0)
    for one in _EXPLICIT:
        for part in range(4):
            n = cells[one << 6 | kind << 2 | part]
            of_kind += n
            if one == reaction:
                asked += n
    return 64 * (asked + 1) // (of_kind + 3)


@compiled("i8(i8[::1], i8, i8)")
def in_part(cells: Ints, reaction: Int, part: Int) -> Int:
    """How many such reactions fell into that part of the day, of any kind of tip."""
    found = np.int64(0)
    for kind in range(16):
        found += cells[reaction << 6 | kind << 2 | part]
    return found


@compiled(f"i8({BYTES_FORM})")
def most_of_a_width(block: bytes) -> Int:
    """The greatest sum of counts over all buckets of one width; -1 where it is no block of windows."""
    windows = columns.read(block, np.int64(3))
    if windows.shape[0] != 3:
        return np.int64(-1)
    most = held = before = np.int64(0)
    for i in range(windows.shape[1]):
        if windows[0, i] != before:
            before, held = windows[0, i], np.int64(0)
        held += windows[2, i]
        most = max(most, held)
    return most


@compiled("i8(i8[:, ::1], i8, i8, i8, i8[:, ::1])")
def _add(windows: Ints, cell: Int, event_ms: Int, now_ms: Int, into: Ints) -> Int:
    n, at, held = windows.shape[1], np.int64(0), np.int64(0)
    for width_s, span_ms in _WIDTHS:
        begin = held
        first = max(now_ms - span_ms, np.int64(0)) // (width_s * 1000)
        bucket = event_ms // (width_s * 1000)
        key, put = bucket << 10 | cell, bucket < first
        while at < n and windows[0, at] == width_s:
            known, number = windows[1, at], windows[2, at]
            at += 1
            if known < first << 10:
                continue
            if not put and known >= key:
                put = True
                if known == key:
                    number += 1
                else:
                    into[0, held], into[1, held], into[2, held] = width_s, key, 1
                    held += 1
            into[0, held], into[1, held], into[2, held] = width_s, known, number
            held += 1
        if not put:
            into[0, held], into[1, held], into[2, held] = width_s, key, 1
            held += 1
        over = held - begin - KEYS_MAX
        if over > 0:
            for i in range(begin, held - over):
                for c in range(3):
                    into[c, i] = into[c, i + over]
            held -= over
    return held


@compiled("b1(i8, i8, i8)")
def _is_of(key: Int, reaction: Int, kind: Int) -> Int:
    return (key & 1023) >> 6 == reaction and (kind == 0 or (key >> 2) & 15 == kind)


@compiled("i8(i8[:, ::1], i8, i8, i8, i8, i8, i8)")
def _falls_below_ms(windows: Ints, most: Int, now_ms: Int, span_ms: Int, width_s: Int, reaction: Int, kind: Int) -> Int:
    first = max(now_ms - span_ms, np.int64(0)) // (width_s * 1000)
    left = np.int64(0)
    for i in range(windows.shape[1]):
        if windows[0, i] == width_s and windows[1, i] >> 10 >= first and _is_of(windows[1, i], reaction, kind):
            left += windows[2, i]
    if left < most:
        return np.int64(0)
    for i in range(windows.shape[1]):
        if windows[0, i] == width_s and windows[1, i] >> 10 >= first and _is_of(windows[1, i], reaction, kind):
            left -= windows[2, i]
            if left < most:
                # A bucket counts as long as any of it lies within the span.
                return ((windows[1, i] >> 10) + 1) * width_s * 1000 + span_ms
    return np.int64(0)


def _width_s(span_ms: int) -> int:
    """Return the narrowest buckets that reach back so far."""
    return next(width_s for width_s, kept_ms in SPANS_MS.items() if span_ms <= kept_ms)


def _in_columns(windows: Iterable[row_pb2.Window]) -> Ints:
    """Windows as rows had them before they were packed."""
    cells = [
        (window.width_s, key, n)
        for window in windows
        for key, n in zip(accumulate(window.key_steps), window.counts, strict=True)
    ]
    return np.ascontiguousarray(np.array(sorted(cells), dtype=np.int64).reshape(-1, 3).T)


def _spelled(windows: Ints) -> list[row_pb2.Window]:
    found = []
    for width_s in sorted(set(windows[0].tolist())):
        _, keys, counts = windows[:, windows[0] == width_s].tolist()
        steps = [key - before for before, key in pairwise([0, *keys])]
        found.append(row_pb2.Window(width_s=width_s, key_steps=steps, counts=counts))
    return found

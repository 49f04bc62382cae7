"""Counts of reactions over the last hour, day, week and four weeks, in buckets of event time inside the row.

Three widths of bucket are kept side by side instead of rolling one into the next: what a bucket holds depends on
the events alone, never on the order in which they came. It never reads a clock: `now_ms` is the row's event time.

    5 min  |·|·|·|·|·|·|·|·|·|·|·|·|                     1 h
    1 h    |···········|···········| ... |               24 h
    6 h    |                             ...           | 28 d (and 7 d from its later part)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise

from oo.v1 import outcome_pb2, row_pb2
from streams.units import DAY_MS, HOUR_MS

SPANS_MS = {300: HOUR_MS, 3600: DAY_MS, 21600: 28 * DAY_MS}
"""Width of a bucket in seconds, and for how long buckets of that width are kept."""

_CELL_BITS = 10
"""Of a key, below its bucket: four for the reaction, four for the kind of tip, two for the part of the day."""
_CELL_MASK = (1 << _CELL_BITS) - 1

_EXPLICIT = (outcome_pb2.Outcome.DONE, outcome_pb2.Outcome.SNOOZE, outcome_pb2.Outcome.DISMISS)

KEYS_MAX = 2048
"""Of one width: past it the oldest buckets go first (28 days hold 112 buckets; a bucket seldom more than 4 cells)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is counted apart: a reaction (Outcome.Kind), a tip kind (Decision.TipKind), a part of the day."""

    reaction: int
    kind: int
    part: int


Counts = Mapping[int, list[tuple[int, int]]]
"""By width in seconds: each key with its count, sorted by key."""

Tally = Mapping[int, int]
"""Of one span: how often each cell, a key without its bucket."""


def read(windows: Iterable[row_pb2.Window]) -> Counts:
    """Return the windows unpacked."""
    return {window.width_s: list(zip(accumulate(window.key_steps), window.counts, strict=True)) for window in windows}


def add(windows: Iterable[row_pb2.Window], cell: Cell, *, event_ms: int, now_ms: int) -> list[row_pb2.Window]:
    """Return the windows with one more reaction at `event_ms`, and without what is too old for `now_ms`.

    >>> cell = Cell(reaction=1, kind=2, part=0)
    >>> windows = add([], cell, event_ms=10 * HOUR_MS, now_ms=10 * HOUR_MS)
    >>> count(windows, now_ms=10 * HOUR_MS, span_ms=HOUR_MS, reaction=1), len(windows)
    (1, 3)
    """
    counts = read(windows)
    return [
        _with(counts.get(width_s, []), cell, width_s=width_s, span_ms=span_ms, event_ms=event_ms, now_ms=now_ms)
        for width_s, span_ms in SPANS_MS.items()
    ]


def take_back(windows: Iterable[row_pb2.Window], cell: Cell, *, event_ms: int) -> list[row_pb2.Window]:
    """Return the windows without one such reaction that `add` counted at `event_ms`; a bucket that has gone stays gone.

    >>> cell = Cell(reaction=1, kind=2, part=0)
    >>> windows = take_back(add([], cell, event_ms=HOUR_MS, now_ms=HOUR_MS), cell, event_ms=HOUR_MS)
    >>> count(windows, now_ms=HOUR_MS, span_ms=HOUR_MS, reaction=1)
    0
    """
    found: list[row_pb2.Window] = []
    for width_s, counts in read(windows).items():
        key = _key(cell, event_ms // (width_s * 1000))
        found.append(_window(width_s, [(k, n - (k == key)) for k, n in counts if k != key or n > 1]))
    return found


def last(windows: Iterable[row_pb2.Window], *, now_ms: int, span_ms: int) -> Tally:
    """Return what the last `span_ms` hold, to the width of a bucket."""
    (tally,) = last_of_each(windows, now_ms=now_ms, spans_ms=(span_ms,))
    return tally


def last_of_each(windows: Iterable[row_pb2.Window], *, now_ms: int, spans_ms: Iterable[int]) -> list[Tally]:
    """Return what each of these spans holds; a window is unpacked once for all of them."""
    kept = {window.width_s: (list(accumulate(window.key_steps)), window.counts[:]) for window in windows}
    tallies: list[Tally] = []
    for span_ms in spans_ms:
        width_s = _width_s(span_ms)
        keys, counts = kept.get(width_s, ([], []))
        start = bisect_left(keys, _first_bucket(now_ms, width_s=width_s, span_ms=span_ms) << _CELL_BITS)
        tally: dict[int, int] = {}
        for key, n in zip(keys[start:], counts[start:], strict=True):
            cell = key & _CELL_MASK
            tally[cell] = tally.get(cell, 0) + n
        tallies.append(tally)
    return tallies


def count(
    windows: Iterable[row_pb2.Window],
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


def rate_64(tally: Tally, *, reaction: int, kind: int) -> int:
    """Return the share of `reaction` among done, snooze and dismiss in units of 1/64, smoothed by three of each
    kind's third.

    >>> rate_64({}, reaction=1, kind=2)
    21
    """
    asked = of_kind = 0
    for cell, n in tally.items():
        if (cell >> 2) & 0xF == kind and cell >> 6 in _EXPLICIT:
            of_kind += n
            if cell >> 6 == reaction:
                asked += n
    return 64 * (asked + 1) // (of_kind + 3)


def falls_below_ms(
    windows: Iterable[row_pb2.Window], most: int, *, now_ms: int, span_ms: int, reaction: int, kind: int | None = None
) -> int:
    """When the last `span_ms` will hold fewer than `most` such reactions, if no more come; 0 where they do now.

    >>> windows = add([], Cell(reaction=4, kind=2, part=0), event_ms=0, now_ms=0)
    >>> falls_below_ms(windows, 1, now_ms=0, span_ms=HOUR_MS, reaction=4) // 60_000
    65
    """
    width_s = _width_s(span_ms)
    first = _first_bucket(now_ms, width_s=width_s, span_ms=span_ms)
    found = [
        (key >> _CELL_BITS, n)
        for key, n in read(window for window in windows if window.width_s == width_s).get(width_s, ())
        if key >> _CELL_BITS >= first and _is_of(key & _CELL_MASK, reaction=reaction, kind=kind)
    ]
    left = sum(n for _, n in found)
    if left < most:
        return 0
    for bucket, n in found:
        left -= n
        if left < most:
            # A bucket counts as long as any of it lies within the span.
            return (bucket + 1) * width_s * 1000 + span_ms
    return 0


def _width_s(span_ms: int) -> int:
    """Return the narrowest buckets that reach back so far."""
    return next(width_s for width_s, kept_ms in SPANS_MS.items() if span_ms <= kept_ms)


def _is_of(cell: int, *, reaction: int, kind: int | None) -> bool:
    return cell >> 6 == reaction and (kind is None or (cell >> 2) & 0xF == kind)


def _with(
    counts: list[tuple[int, int]], cell: Cell, *, width_s: int, span_ms: int, event_ms: int, now_ms: int
) -> row_pb2.Window:
    first = _first_bucket(now_ms, width_s=width_s, span_ms=span_ms)
    kept = counts[bisect_left(counts, (first << _CELL_BITS, 0)) :]
    bucket = event_ms // (width_s * 1000)
    if bucket >= first:
        key = _key(cell, bucket)
        index = bisect_left(kept, (key, 0))
        if index < len(kept) and kept[index][0] == key:
            kept[index] = (key, kept[index][1] + 1)
        else:
            kept.insert(index, (key, 1))
    return _window(width_s, kept[-KEYS_MAX:])


def _key(cell: Cell, bucket: int) -> int:
    return bucket << _CELL_BITS | cell.reaction << 6 | cell.kind << 2 | cell.part


def _window(width_s: int, counts: list[tuple[int, int]]) -> row_pb2.Window:
    keys = [0, *(key for key, _ in counts)]
    return row_pb2.Window(
        width_s=width_s, key_steps=[key - before for before, key in pairwise(keys)], counts=[n for _, n in counts]
    )


def _first_bucket(now_ms: int, *, width_s: int, span_ms: int) -> int:
    # The bucket that `now - span` falls into still counts: a window is never shorter than its name says.
    return max(now_ms - span_ms, 0) // (width_s * 1000)

"""Counts of reactions over the last hour, day, week and four weeks, in buckets of event time inside the row.

Three widths of bucket are kept side by side instead of rolling one into the next: what a bucket holds depends on
the events alone, never on the order in which they came. It never reads a clock: `now_ms` is the row's event time.

    5 min  |·|·|·|·|·|·|·|·|·|·|·|·|                     1 h
    1 h    |···········|···········| ... |               24 h
    6 h    |                             ...           | 28 d (and 7 d from its later part)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from oo.v1 import outcome_pb2, row_pb2

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS

SPANS_MS = {300: HOUR_MS, 3600: DAY_MS, 21600: 28 * DAY_MS}
"""Width of a bucket in seconds, and for how long buckets of that width are kept."""

KEYS_MAX = 2048
"""Of one width: past it the oldest buckets go first (28 days hold 112 buckets; a bucket seldom more than 4 cells)."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is counted apart: a reaction (Outcome.Kind), a tip kind (Decision.TipKind), a part of the day."""

    reaction: int
    kind: int
    part: int


def add(windows: Iterable[row_pb2.Window], cell: Cell, *, event_ms: int, now_ms: int) -> list[row_pb2.Window]:
    """The windows with one more reaction at `event_ms`, and without what is too old for `now_ms`.

    >>> cell = Cell(reaction=1, kind=2, part=0)
    >>> windows = add([], cell, event_ms=10 * HOUR_MS, now_ms=10 * HOUR_MS)
    >>> count(windows, now_ms=10 * HOUR_MS, span_ms=HOUR_MS, reaction=1), len(windows)
    (1, 3)
    """
    by_width = {window.width_s: window for window in windows}
    return [
        _with(by_width.get(width_s), cell, width_s=width_s, span_ms=span_ms, event_ms=event_ms, now_ms=now_ms)
        for width_s, span_ms in SPANS_MS.items()
    ]


def count(
    windows: Iterable[row_pb2.Window],
    *,
    now_ms: int,
    span_ms: int,
    reaction: int,
    kind: int | None = None,
    part: int | None = None,
) -> int:
    """How many such reactions the last `span_ms` hold, to the width of a bucket."""
    width_s = next(width for width, kept_ms in SPANS_MS.items() if span_ms <= kept_ms)
    first = _first_bucket(now_ms, width_s=width_s, span_ms=span_ms) << 16
    total = 0
    for window in windows:
        if window.width_s != width_s:
            continue
        keys = window.keys
        for index in range(bisect_left(keys, first), len(keys)):
            key = keys[index]
            if (
                (key >> 8) & 0xFF == reaction
                and (kind is None or (key >> 4) & 0xF == kind)
                and (part is None or key & 0xF == part)
            ):
                total += window.counts[index]
    return total


def rate_64(windows: Iterable[row_pb2.Window], *, now_ms: int, span_ms: int, reaction: int, kind: int) -> int:
    """The share of `reaction` among done, snooze and dismiss in units of 1/64, smoothed by three of each kind's third.

    >>> rate_64([], now_ms=0, span_ms=HOUR_MS, reaction=1, kind=2)
    21
    """
    windows = list(windows)
    explicit = (outcome_pb2.Outcome.DONE, outcome_pb2.Outcome.SNOOZE, outcome_pb2.Outcome.DISMISS)
    counts: dict[int, int] = {
        r: count(windows, now_ms=now_ms, span_ms=span_ms, reaction=r, kind=kind) for r in explicit
    }
    return 64 * (counts[reaction] + 1) // (sum(counts.values()) + 3)


def _with(
    window: row_pb2.Window | None, cell: Cell, *, width_s: int, span_ms: int, event_ms: int, now_ms: int
) -> row_pb2.Window:
    first = _first_bucket(now_ms, width_s=width_s, span_ms=span_ms)
    kept = (
        [] if window is None else [(k, n) for k, n in zip(window.keys, window.counts, strict=True) if k >> 16 >= first]
    )
    bucket = event_ms // (width_s * 1000)
    if bucket >= first:
        key = bucket << 16 | cell.reaction << 8 | cell.kind << 4 | cell.part
        index = bisect_left(kept, (key, 0))
        if index < len(kept) and kept[index][0] == key:
            kept[index] = (key, kept[index][1] + 1)
        else:
            kept.insert(index, (key, 1))
    kept = kept[-KEYS_MAX:]
    return row_pb2.Window(width_s=width_s, keys=[k for k, _ in kept], counts=[n for _, n in kept])


def _first_bucket(now_ms: int, *, width_s: int, span_ms: int) -> int:
    # The bucket that `now - span` falls into still counts: a window is never shorter than its name says.
    return max(now_ms - span_ms, 0) // (width_s * 1000)

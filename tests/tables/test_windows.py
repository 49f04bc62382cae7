"""Windows hold what happened, not in which order it was told.

5 min  |·|·|·|·|·|·|·|·|·|·|·|·|·|                1 h and the bucket it starts in
1 h    |···········|···········| ...              24 h
6 h    |                            ...           28 d
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oo.v1 import row_pb2
from streams.units import DAY_MS, HOUR_MS
from tables import windows
from tables.linear import Ints
from tables.windows import SPANS_MS, Cell

NOW_MS = 1_790_582_400_000 + 1234
CELLS = st.builds(Cell, reaction=st.integers(1, 3), kind=st.integers(0, 4), part=st.integers(0, 3))
AGES_MS = st.one_of(
    st.integers(0, 28 * DAY_MS),
    # On the edges of buckets, where mistakes live.
    st.builds(
        lambda n, w, d: max(NOW_MS - (NOW_MS // w - n) * w + d, 0),
        st.integers(0, 30),
        st.sampled_from([300_000, 3_600_000, 21_600_000]),
        st.integers(-1, 1),
    ),
)
EVENTS = st.lists(st.tuples(CELLS, AGES_MS), max_size=25)


def filled(events: list[tuple[Cell, int]]) -> Ints:
    kept = windows.NOTHING
    for cell, age_ms in events:
        kept = windows.add(kept, cell, event_ms=NOW_MS - age_ms, now_ms=NOW_MS)
    return kept


def counts_of(kept: Ints, width_s: int) -> int:
    """How many cells are counted in buckets of that width."""
    return int((kept[0] == width_s).sum())


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_events_changes_nothing(events: list[tuple[Cell, int]], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert filled(events).tolist() == filled(shuffled).tolist()


@given(EVENTS)
def test_events_told_late_give_the_same_windows_as_events_told_at_once(events: list[tuple[Cell, int]]) -> None:
    in_time = windows.NOTHING
    for cell, age_ms in sorted(events, key=lambda one: -one[1]):
        in_time = windows.add(in_time, cell, event_ms=NOW_MS - age_ms, now_ms=NOW_MS - age_ms)
    last = Cell(reaction=1, kind=1, part=1)
    in_time = windows.add(in_time, last, event_ms=NOW_MS, now_ms=NOW_MS)
    assert in_time.tolist() == filled([*events, (last, 0)]).tolist()


@settings(max_examples=200)
@given(EVENTS, st.sampled_from([HOUR_MS, DAY_MS, 7 * DAY_MS, 28 * DAY_MS]), CELLS)
def test_counts_equal_a_count_by_hand(events: list[tuple[Cell, int]], span_ms: int, asked: Cell) -> None:
    width_ms = 1000 * next(width for width, kept in SPANS_MS.items() if span_ms <= kept)
    first_ms = (NOW_MS - span_ms) // width_ms * width_ms

    def by_hand(*, kind: int | None, part: int | None) -> int:
        return sum(
            NOW_MS - age_ms >= first_ms
            and cell.reaction == asked.reaction
            and kind in (None, cell.kind)
            and part in (None, cell.part)
            for cell, age_ms in events
        )

    kept = filled(events)
    for kind in (None, asked.kind):
        for part in (None, asked.part):
            counted = windows.count(kept, now_ms=NOW_MS, span_ms=span_ms, reaction=asked.reaction, kind=kind, part=part)
            assert counted == by_hand(kind=kind, part=part)


def test_a_window_is_never_shorter_than_its_name() -> None:
    cell = Cell(reaction=1, kind=2, part=0)
    for span_ms in (HOUR_MS, DAY_MS, 7 * DAY_MS, 28 * DAY_MS):
        kept = windows.add(windows.NOTHING, cell, event_ms=NOW_MS - span_ms, now_ms=NOW_MS)
        assert windows.count(kept, now_ms=NOW_MS, span_ms=span_ms, reaction=1) == 1


def test_what_is_older_than_its_window_leaves_at_the_next_reaction() -> None:
    cell = Cell(reaction=1, kind=2, part=0)
    kept = windows.add(windows.NOTHING, cell, event_ms=NOW_MS, now_ms=NOW_MS)
    kept = windows.add(kept, cell, event_ms=NOW_MS + 2 * HOUR_MS, now_ms=NOW_MS + 2 * HOUR_MS)
    assert [counts_of(kept, width_s) for width_s in SPANS_MS] == [1, 2, 1 if NOW_MS % 21_600_000 < 14_400_000 else 2]


def test_an_event_older_than_every_window_leaves_no_trace() -> None:
    kept = windows.add(windows.NOTHING, Cell(reaction=1, kind=2, part=0), event_ms=NOW_MS - 29 * DAY_MS, now_ms=NOW_MS)
    assert kept.shape == (3, 0)


def test_rates_of_one_kind_of_tip_do_not_see_another() -> None:
    kept = filled([(Cell(reaction=3, kind=3, part=0), 0)] * 9)
    cells = np.zeros(windows.CELLS, dtype=np.int64)
    windows.count_cells(kept, NOW_MS, HOUR_MS, 300, cells)
    assert windows.share_64(cells, 3, 2) == 64 // 3
    assert windows.share_64(cells, 3, 3) == 64 * 10 // 12


def test_four_weeks_of_every_reaction_in_every_bucket_are_kept_whole() -> None:
    # 113 buckets of six hours, three reactions, four kinds of tip: what a bucket can hold where zones stand still.
    kept = windows.NOTHING
    events = 0
    for bucket in range(112, -1, -1):
        at_ms = NOW_MS - bucket * 21_600_000
        for reaction in (1, 2, 3):
            for kind in (0, 2, 3, 4):
                kept = windows.add(kept, Cell(reaction=reaction, kind=kind, part=0), event_ms=at_ms, now_ms=NOW_MS)
                events += 1
    assert counts_of(kept, 21_600) == events <= windows.KEYS_MAX


def test_the_bound_drops_the_oldest_buckets() -> None:
    first = NOW_MS // 21_600_000 - 3 << 10
    full = row_pb2.Window(
        width_s=21_600, key_steps=[first] + [1] * (windows.KEYS_MAX - 1), counts=[1] * windows.KEYS_MAX
    )
    kept = windows.kept(row_pb2.UserRow(windows=[full]))
    kept = windows.add(kept, Cell(reaction=1, kind=2, part=0), event_ms=NOW_MS, now_ms=NOW_MS)
    keys = kept[1, kept[0] == 21_600].tolist()
    assert keys[:-1] == list(range(first + 1, first + windows.KEYS_MAX))
    assert keys[-1] >> 10 == NOW_MS // 21_600_000

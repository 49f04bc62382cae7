"""Totals kept up one row at a time equal totals counted anew, to the bit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oo.v1 import row_pb2
from tables import sums
from tables.sums import HALF_LIFE_MS
from tables.totals import Totals

D = 3
ENTRY = st.integers(-64, 64)
CHANGE = st.tuples(
    st.integers(0, 4),
    st.lists(ENTRY, min_size=D, max_size=D),
    ENTRY,
    st.integers(740 * HALF_LIFE_MS, 744 * HALF_LIFE_MS),
)


def counted_anew(rows: dict[int, row_pb2.Sums]) -> Totals:
    totals = Totals(d=D, feature_version=1)
    totals.add_all(rows.values())
    return totals


@given(st.lists(CHANGE, max_size=30))
def test_kept_up_equals_counted_anew(changes: list[tuple[int, list[int], int, int]]) -> None:
    rows: dict[int, row_pb2.Sums] = {}
    totals = Totals(d=D, feature_version=1)
    for user, x, reward, time_ms in changes:
        before = rows.get(user)
        rows[user] = sums.add(before or sums.empty(d=D, feature_version=1), x=x, reward=reward, time_ms=time_ms)
        totals.replace(before, rows[user])
        assert totals.messages() == counted_anew(rows).messages()
        assert totals.users == len(rows)


@given(st.lists(CHANGE, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_bit(changes: list[tuple[int, list[int], int, int]], random: object) -> None:
    rows = [
        sums.add(sums.empty(d=D, feature_version=1), x=x, reward=reward, time_ms=time_ms)
        for _, x, reward, time_ms in changes
    ]
    one = Totals(d=D, feature_version=1)
    one.add_all(rows)
    random.shuffle(rows)  # type: ignore[attr-defined]
    other = Totals(d=D, feature_version=1)
    other.add_all(rows)
    assert one.messages() == other.messages()


def test_rows_of_another_feature_version_count_nothing() -> None:
    other = sums.add(sums.empty(d=2, feature_version=9), x=[64, 64], reward=64, time_ms=740 * HALF_LIFE_MS)
    totals = Totals(d=D, feature_version=1)
    totals.add_all([other])
    assert (totals.users, totals.messages()) == (0, [])


def test_someone_who_taught_nothing_is_not_counted() -> None:
    totals = Totals(d=D, feature_version=1)
    totals.replace(None, row_pb2.Sums())
    assert totals.users == 0

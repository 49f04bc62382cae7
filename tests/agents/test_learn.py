"""What partitions taught, added up: the same whatever their order and number."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.features import VERSION, D
from agents.learn import add_up
from oo.v1 import row_pb2
from tables import sums
from tables.sums import HALF_LIFE_MS
from tables.totals import Totals

START_MS = 740 * HALF_LIFE_MS
X = st.lists(st.integers(-64, 64), min_size=D, max_size=D)


def taught(*contributions: tuple[list[int], int, int]) -> row_pb2.Sums:
    total = sums.empty(d=D, feature_version=VERSION)
    for x, reward, time_ms in contributions:
        total = sums.add(total, x=x, reward=reward, time_ms=time_ms)
    return total


def totals(rows: list[row_pb2.Sums]) -> list[row_pb2.Sums]:
    added = Totals(d=D, feature_version=VERSION)
    added.add_all(rows)
    return added.messages()


ROW = st.builds(taught, st.tuples(X, st.integers(-64, 64), st.integers(START_MS, START_MS + HALF_LIFE_MS - 1)))


@settings(max_examples=30)
@given(st.lists(ROW, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_partitions_changes_no_bit(parts: list[row_pb2.Sums], random: object) -> None:
    shuffled = list(parts)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert add_up(parts) == add_up(shuffled)


@settings(max_examples=30)
@given(st.lists(ROW, min_size=1, max_size=12))
def test_one_partition_equals_four(rows: list[row_pb2.Sums]) -> None:
    assert add_up(totals(rows)) == add_up([one for n in range(4) for one in totals(rows[n::4])])


def test_one_partition_equals_four_also_where_one_has_passed_a_half_life() -> None:
    x = [1] * D
    early = [taught((x, 1, START_MS)) for _ in range(3)]
    late = taught((x, 1, START_MS + HALF_LIFE_MS))
    early = [sums.add(one, x=[1] + [0] * (D - 1), reward=1, time_ms=START_MS + HALF_LIFE_MS - 1) for one in early]
    assert add_up(totals([*early, late])) == add_up([*totals(early), *totals([late])])


def test_nothing_taught_is_zero_everywhere() -> None:
    assert add_up([]) == sums.empty(d=D, feature_version=VERSION)


def test_sums_of_another_feature_version_count_nothing() -> None:
    other = row_pb2.Sums(feature_version=VERSION + 1, landmark=900, n=9, gram=[1], moment=[1])
    one = taught(([64] * D, 64, START_MS))
    assert add_up([other, one]) == add_up([one])

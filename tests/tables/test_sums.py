"""Sums in fixed point: exact, in any order, on any machine."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oo.v1 import row_pb2
from tables import sums
from tables.sums import HALF_LIFE_MS

D = 5
LANDMARK = 740
START_MS = LANDMARK * HALF_LIFE_MS
ENTRY = st.integers(-64, 64)
X = st.lists(ENTRY, min_size=D, max_size=D)
WITHIN = st.integers(START_MS, START_MS + HALF_LIFE_MS - 1)
CONTRIBUTION = st.tuples(X, ENTRY, WITHIN)


def empty() -> row_pb2.Sums:
    return sums.empty(d=D, feature_version=1)


def added(contributions: list[tuple[list[int], int, int]], *, to: row_pb2.Sums | None = None) -> row_pb2.Sums:
    total = to or empty()
    for x, reward, time_ms in contributions:
        total = sums.add(total, x=x, reward=reward, time_ms=time_ms)
    return total


@given(st.lists(CONTRIBUTION, max_size=8), CONTRIBUTION)
def test_adding_and_taking_away_is_as_if_it_had_never_been(
    others: list[tuple[list[int], int, int]], one: tuple[list[int], int, int]
) -> None:
    # Something stands already: only the landmark of the very first one remains behind.
    others = [([0] * D, 0, START_MS), *others]
    before = added(others)
    x, reward, time_ms = one
    after = sums.add(added([one], to=before), x=x, reward=reward, time_ms=time_ms, sign=-1)
    assert after.SerializeToString(deterministic=True) == before.SerializeToString(deterministic=True)


@given(st.lists(CONTRIBUTION, max_size=8), st.randoms(use_true_random=False))
def test_the_order_changes_no_bit(contributions: list[tuple[list[int], int, int]], random: object) -> None:
    shuffled = list(contributions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert added(contributions) == added(shuffled)


@given(st.lists(CONTRIBUTION, min_size=1, max_size=6))
def test_they_equal_whole_number_arithmetic_by_hand(contributions: list[tuple[list[int], int, int]]) -> None:
    total = added(contributions)
    rows, columns = sums.triangle(D)
    for place, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        assert total.gram[place] == sum(sums.weight(t)[1] * x[i] * x[j] for x, _, t in contributions)
    for i in range(D):
        assert total.moment[i] == sum(sums.weight(t)[1] * x[i] * r for x, r, t in contributions)
    assert total.n == sum(sums.weight(t)[1] for _, _, t in contributions)


@given(CONTRIBUTION, st.integers(1, 70))
def test_moving_the_landmark_halves_to_the_nearest(one: tuple[list[int], int, int], steps: int) -> None:
    total = added([one])
    gram, moment, n = sums.at_landmark(total, landmark=LANDMARK + steps)
    for before, after in (*zip(total.gram, gram, strict=True), *zip(total.moment, moment, strict=True), (total.n, n)):
        assert abs(int(after) * 2**steps - before) * 2 <= 2**steps


def test_a_contribution_one_half_life_later_weighs_twice_as_much() -> None:
    x = [64] * D
    early = added([(x, 64, START_MS)])
    late = added([(x, 64, START_MS + HALF_LIFE_MS)])
    assert late.landmark == early.landmark + 1
    gram, moment, n = sums.at_landmark(early, landmark=late.landmark)
    assert (gram * 2).tolist() == list(late.gram)
    assert (moment * 2).tolist() == list(late.moment)
    assert n * 2 == late.n


def test_a_late_contribution_to_newer_sums_is_halved() -> None:
    x = [64] * D
    newer = added([([0] * D, 0, START_MS + HALF_LIFE_MS)])
    both = added([(x, 64, START_MS)], to=newer)
    assert both.landmark == LANDMARK + 1
    assert both.gram[0] == 64 * 64 * 64 // 2


def test_weights_grow_from_64_to_just_under_128_in_32_steps() -> None:
    weights = [sums.weight(START_MS + n * HALF_LIFE_MS // 64)[1] for n in range(64)]
    assert (weights[0], weights[-1]) == (64, 125)
    assert weights == sorted(weights)
    assert len(set(weights)) == 32


def test_sums_have_room_for_ten_million_million_contributions() -> None:
    # The greatest entry: weight just under 128, features and reward at their ends.
    one = added([([64] * D, 64, START_MS + HALF_LIFE_MS - 1)])
    greatest = max(abs(v) for v in (*one.gram, *one.moment, one.n))
    assert greatest <= 2**19
    assert greatest * 10**13 < np.iinfo(np.int64).max


def test_sums_near_the_end_of_int64_are_halved_without_wrapping() -> None:
    top = 10**13 * 2**19
    gram, _, _ = sums.at_landmark(row_pb2.Sums(gram=[top, -top]), landmark=1)
    assert gram.tolist() == [top // 2, -top // 2]


def test_an_old_landmark_fades_to_nothing() -> None:
    top = 2**62
    gram, _, _ = sums.at_landmark(row_pb2.Sums(gram=[top, -top, 5]), landmark=64)
    assert gram.tolist() == [0, 0, 0]

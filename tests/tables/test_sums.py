"""Sums in fixed point: exact, in any order, on any machine."""

from __future__ import annotations

import copy

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oo.v1 import row_pb2
from tables import sums
from tables.row import spelled_out
from tables.sums import HALF_LIFE_MS, LOSSES, Predicted, Taught

D = 5
LANDMARK = 740
START_MS = LANDMARK * HALF_LIFE_MS
ENTRY = st.integers(-64, 64)
X = st.lists(ENTRY, min_size=D, max_size=D)
WITHIN = st.integers(START_MS, START_MS + HALF_LIFE_MS - 1)
PREDICTED = st.builds(Predicted, st.integers(-2048, 2048), st.integers(-2048, 2048), st.integers(0, 3))
CONTRIBUTION = st.tuples(X, ENTRY, WITHIN, PREDICTED)
Contribution = tuple[list[int], int, int, Predicted]
PLAIN = Predicted(0, 0, 0)


def added(contributions: list[Contribution], *, to: Taught | None = None) -> Taught:
    total = copy.deepcopy(to) if to else sums.nothing(D)
    for x, reward, time_ms, predicted in contributions:
        sums.add(total, x=x, reward=reward, time_ms=time_ms, predicted=predicted)
    return total


def moved(taught: Taught, *, landmark: int) -> Taught:
    taught = copy.deepcopy(taught)
    sums.move(taught, landmark=landmark)
    return taught


def written(taught: Taught, *, feature_version: int = 1) -> row_pb2.UserRow:
    row = row_pb2.UserRow()
    sums.write(taught, row, feature_version=feature_version)
    return row


def packed(taught: Taught) -> bytes:
    return written(taught).SerializeToString(deterministic=True)


@given(st.lists(CONTRIBUTION, max_size=8), CONTRIBUTION)
def test_adding_and_taking_away_is_as_if_it_had_never_been(others: list[Contribution], one: Contribution) -> None:
    # Something of the greatest weight stands already: landmark and weight of the very newest remain behind.
    others = [([0] * D, 0, START_MS + HALF_LIFE_MS - 1, PLAIN), *others]
    before = added(others)
    x, reward, time_ms, predicted = one
    after = added([one], to=before)
    sums.add(after, x=x, reward=reward, time_ms=time_ms, predicted=predicted, sign=-1)
    assert packed(after) == packed(before)


@given(st.integers(0, 9), st.integers(0, 9))
def test_a_triangle_of_other_features_begins_as_its_matrix_does(d: int, to: int) -> None:
    whole = np.pad(np.arange(1, d * d + 1).reshape(d, d), (0, max(to - d, 0)))[:to, :to]
    found = sums.resized_triangle(np.arange(1, d * d + 1).reshape(d, d)[np.triu_indices(d)], d, to)
    assert found.tolist() == whole[np.triu_indices(to)].tolist()


@given(st.lists(CONTRIBUTION, max_size=8), st.randoms(use_true_random=False))
def test_the_order_changes_no_bit(contributions: list[Contribution], random: object) -> None:
    shuffled = list(contributions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert packed(added(contributions)) == packed(added(shuffled))


@given(st.lists(CONTRIBUTION, min_size=1, max_size=6))
def test_they_equal_whole_number_arithmetic_by_hand(contributions: list[Contribution]) -> None:
    total = added(contributions)
    rows, columns = sums.triangle(D)
    for place, (i, j) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        assert total.gram[place] == sum(sums.weight(t)[1] * x[i] * x[j] for x, _, t, _ in contributions)
    for i in range(D):
        assert total.moment[i] == sum(sums.weight(t)[1] * x[i] * r for x, r, t, _ in contributions)
    assert total.n == sum(sums.weight(t)[1] for _, _, t, _ in contributions)
    assert total.weight == max(sums.weight(t)[1] for _, _, t, _ in contributions)
    for known in range(LOSSES // 2):
        of_own = sum(
            sums.weight(t)[1] * (r * 16 - p.own) ** 2 // 256 for _, r, t, p in contributions if p.known == known
        )
        assert total.losses[LOSSES // 2 + known] == of_own


@given(st.lists(CONTRIBUTION, max_size=4))
def test_a_row_gives_back_what_was_written(contributions: list[Contribution]) -> None:
    total = added(contributions)
    total.epoch = 2**64 - 1
    row = written(total)
    assert packed(sums.read(row, d=D, feature_version=1)) == packed(total)
    # Spelled out it is a row as they were written before there were blocks.
    assert packed(sums.read(spelled_out(row), d=D, feature_version=1)) == packed(total)


def test_sums_of_other_features_teach_nothing() -> None:
    row = written(added([([64] * D, 64, START_MS, PLAIN)]), feature_version=9)
    for one in (row, spelled_out(row)):
        assert packed(sums.read(one, d=3, feature_version=1)) == packed(sums.nothing(3))


@given(CONTRIBUTION, st.integers(1, 70))
def test_moving_the_landmark_halves_to_the_nearest(one: Contribution, steps: int) -> None:
    before = added([one])
    after = moved(before, landmark=LANDMARK + steps)
    pairs = [
        *zip(before.gram, after.gram, strict=True),
        *zip(before.moment, after.moment, strict=True),
        *zip(before.losses, after.losses, strict=True),
        (before.n, after.n),
    ]
    for old, new in pairs:
        assert abs(int(new) * 2**steps - int(old)) * 2 <= 2**steps


def test_a_contribution_one_half_life_later_weighs_twice_as_much() -> None:
    x = [64] * D
    early = added([(x, 64, START_MS, PLAIN)])
    late = added([(x, 64, START_MS + HALF_LIFE_MS, PLAIN)])
    assert late.landmark == early.landmark + 1
    early = moved(early, landmark=late.landmark)
    assert (early.gram * 2).tolist() == late.gram.tolist()
    assert (early.moment * 2).tolist() == late.moment.tolist()
    assert (early.n * 2, early.weight * 2) == (late.n, late.weight)


def test_a_late_contribution_to_newer_sums_is_halved() -> None:
    x = [64] * D
    newer = added([([0] * D, 0, START_MS + HALF_LIFE_MS, PLAIN)])
    both = added([(x, 64, START_MS, PLAIN)], to=newer)
    assert both.landmark == LANDMARK + 1
    assert both.gram[0] == 64 * 64 * 64 // 2
    assert both.weight == newer.weight


def test_weights_grow_from_64_to_just_under_128_in_32_steps() -> None:
    weights = [sums.weight(START_MS + n * HALF_LIFE_MS // 64)[1] for n in range(64)]
    assert (weights[0], weights[-1]) == (64, 125)
    assert weights == sorted(weights)
    assert len(set(weights)) == 32


def test_sums_have_room_for_ten_million_million_contributions() -> None:
    # The greatest entry: weight just under 128, features and reward at their ends.
    one = added([([64] * D, 64, START_MS + HALF_LIFE_MS - 1, PLAIN)])
    greatest = max(abs(int(v)) for v in (*one.gram, *one.moment, one.n))
    assert greatest <= 2**19
    assert greatest * 10**13 < np.iinfo(np.int64).max


def test_sums_near_the_end_of_int64_are_halved_without_wrapping() -> None:
    top = 10**13 * 2**19
    assert sums.halve(np.array([top, -top]), steps=1).tolist() == [top // 2, -top // 2]


def test_an_old_landmark_fades_to_nothing() -> None:
    top = 2**62
    assert sums.halve(np.array([top, -top, 5]), steps=64).tolist() == [0, 0, 0]


def test_what_a_year_has_gone_by_is_worth_less_by_its_half_lives() -> None:
    one = added([([64] * D, 64, START_MS, PLAIN)])
    assert one.gram[0] * sums.scale_at(one, now_ms=START_MS) == 1.0
    assert one.gram[0] * sums.scale_at(one, now_ms=START_MS + 13 * HALF_LIFE_MS) == 2.0**-13

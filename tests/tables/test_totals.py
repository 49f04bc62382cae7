"""Totals kept up one row at a time equal totals counted anew, to the bit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables import marginal, sums
from tables.marginal import Epoch
from tables.sums import HALF_LIFE_MS, Predicted, Taught
from tables.totals import Total, Totals, merged, messages, read

D, Q = 3, 2
SIZE = marginal.size(d=D, q=Q)
EPOCHS = {n: Epoch(precision=np.eye(Q) * (4.0 + n), mean=np.full(D, 0.1 * n), noise=0.18) for n in range(2)}
ENTRY = st.integers(-64, 64)
CHANGE = st.tuples(
    st.integers(0, 4),
    st.lists(ENTRY, min_size=D, max_size=D),
    ENTRY,
    st.integers(740 * HALF_LIFE_MS, 744 * HALF_LIFE_MS),
    st.integers(0, 1),
)
Change = tuple[int, list[int], int, int, int]


def rows_of(changes: list[Change]) -> dict[int, Taught]:
    rows: dict[int, Taught] = {}
    for user, x, reward, time_ms, epoch in changes:
        taught = rows.setdefault(user, sums.nothing(D))
        sums.add(taught, x=x, reward=reward, time_ms=time_ms, predicted=Predicted(9, -9, 1))
        taught.epoch = epoch
    return rows


def counted(rows: list[Taught]) -> Totals:
    totals = Totals(epochs=EPOCHS)
    for one in rows:
        totals.replace(None, one)
    return totals


def told(totals: list[Total]) -> list[tuple[int, int, int, int, list[int]]]:
    """All of it, comparable."""
    found = merged(totals, size=SIZE)
    return [(one.landmark, one.epoch, one.n, one.users, one.contribution.tolist()) for one in found]


@given(st.lists(CHANGE, max_size=30))
def test_kept_up_equals_counted_anew(changes: list[Change]) -> None:
    rows: dict[int, Taught] = {}
    totals = Totals(epochs=EPOCHS)
    for at in range(len(changes)):
        user = changes[at][0]
        before = copy.deepcopy(rows.get(user))
        rows = rows_of(changes[: at + 1])
        totals.replace(before, rows[user])
        assert totals.to_bytes() == counted(list(rows.values())).to_bytes()
        assert totals.users == len(rows)


@given(st.lists(CHANGE, max_size=30))
def test_parts_that_are_kept_and_renewed_equal_parts_counted_anew(changes: list[Change]) -> None:
    totals, parts = Totals(epochs=EPOCHS), dict[int, Total]()
    for at in range(len(changes)):
        user, rows = changes[at][0], rows_of(changes[: at + 1])
        renewed = totals.renew(parts.pop(user, None), rows[user])
        assert renewed is not None
        parts[user] = renewed
        assert totals.to_bytes() == counted(list(rows.values())).to_bytes()


def test_someone_whose_sums_have_gone_is_taken_out() -> None:
    totals, one = Totals(epochs=EPOCHS), sums.nothing(D)
    assert totals.renew(None, one) is None
    sums.add(one, x=[64] * D, reward=64, time_ms=0)
    part = totals.renew(None, one)
    assert totals.users == 1
    assert totals.renew(part, sums.nothing(D)) is None
    assert totals.all() == []


@given(st.lists(CHANGE, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_bit(changes: list[Change], random: object) -> None:
    rows = list(rows_of(changes).values())
    before = counted(rows).to_bytes()
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert counted(rows).to_bytes() == before


@given(st.lists(CHANGE, min_size=1, max_size=10))
def test_someone_taken_away_is_as_if_they_had_never_been(changes: list[Change]) -> None:
    rows = rows_of(changes)
    gone = rows.pop(changes[0][0])
    totals = counted([*rows.values(), gone])
    totals.replace(gone, None)
    assert totals.to_bytes() == counted(list(rows.values())).to_bytes()


@settings(max_examples=30)
@given(st.lists(CHANGE, min_size=1, max_size=20))
def test_one_partition_equals_four(changes: list[Change]) -> None:
    rows = list(rows_of([(n, *rest) for n, (_, *rest) in enumerate(changes)]).values())
    assert told(counted(rows).all()) == told([one for n in range(4) for one in counted(rows[n::4]).all()])


def test_someone_who_taught_nothing_is_not_counted() -> None:
    assert counted([sums.nothing(D)]).users == 0


def test_nothing_taught_is_zero_everywhere() -> None:
    assert merged([], size=SIZE) == []


def test_people_of_each_epoch_are_added_up_apart_and_at_one_landmark() -> None:
    at = [740 * HALF_LIFE_MS, 741 * HALF_LIFE_MS]
    rows = rows_of([(0, [64] * D, 64, at[0], 0), (1, [64] * D, 64, at[1], 1), (2, [64] * D, 64, at[1], 1)])
    first, second = merged(counted(list(rows.values())).all(), size=SIZE)
    assert (first.epoch, first.users, second.epoch, second.users) == (0, 1, 1, 2)
    assert first.landmark == second.landmark == 741
    assert first.n * 4 == second.n


@given(st.lists(CHANGE, max_size=10))
def test_what_is_published_and_what_is_on_the_disk_is_read_back(changes: list[Change]) -> None:
    totals = counted(list(rows_of(changes).values()))
    again = Totals.from_bytes(totals.to_bytes(), epochs=EPOCHS)
    assert again.to_bytes() == totals.to_bytes()
    published = [read(one) for one in messages(totals, feature_version=1)]
    assert told(published) == told(totals.all())


def test_a_row_of_an_epoch_that_nobody_knows_is_our_own_mistake() -> None:
    (one,) = rows_of([(0, [64] * D, 64, 740 * HALF_LIFE_MS, 0)]).values()
    one.epoch = 77
    with pytest.raises(KeyError):
        counted([one])

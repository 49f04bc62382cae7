"""The lower bound holds for the running mean, at every event at once, whatever the variables do."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation import wealth

ALPHA = 0.05


def fed(ys) -> wealth.Wealth:
    some = wealth.empty(shape=np.shape(ys[0]))
    for y in ys:
        some = wealth.add(some, np.asarray(y, dtype=float))
    return some


@given(st.lists(st.floats(0, 50), min_size=1, max_size=30))
def test_the_bound_is_where_the_wealth_has_become_enough(ys):
    some = fed(ys)
    bound = float(wealth.lower_bound(some, alpha=ALPHA))
    assert 0 <= bound <= np.mean(ys) + 1e-9
    if bound > 1e-9:
        assert wealth.log_wealth(some, bound) == pytest.approx(log(1 / ALPHA), abs=1e-6)
    else:
        assert wealth.log_wealth(some, 1e-6) <= log(1 / ALPHA) + 1e-3


@given(st.lists(st.floats(0, 50), min_size=1, max_size=30))
def test_no_wealth_is_won_against_the_mean_itself(ys):
    assert wealth.log_wealth(fed(ys), float(np.mean(ys))) <= 1e-9


def test_two_parts_add_up_to_the_whole():
    ys = np.random.default_rng(1).exponential(size=60)
    parts = wealth.merged(fed(ys[:20]), fed(ys[20:]))
    np.testing.assert_allclose(parts.growth, fed(ys).growth, rtol=1e-12)
    assert parts.n == 60


def losses(means: np.ndarray, *, streams: int, sampled) -> float:
    """The share of streams whose bound ever passes the running mean so far."""
    lost, total, some = np.zeros(streams, dtype=bool), 0.0, wealth.empty(shape=(streams,))
    for i, mean in enumerate(means, start=1):
        total += mean
        some = wealth.add(some, sampled(mean, streams))
        lost |= wealth.log_wealth(some, total / i) >= log(1 / ALPHA)
    return float(lost.mean())


# 1,000 streams, at most 5 % lost: a sampling error of three standard deviations adds .02.
DRIFTS = {
    "constant": np.full(800, 1.0),
    "rises": np.linspace(0.2, 2.0, 800),
    "falls": np.linspace(2.0, 0.2, 800),
    "jumps to and fro": np.where(np.arange(800) // 50 % 2, 1.8, 0.2),
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_the_running_mean_is_kept_however_the_mean_moves(drift):
    rng = np.random.default_rng(4)

    def rare(mean, size):
        return np.where(rng.random(size) < mean / 20, 20.0, 0.0)

    assert losses(DRIFTS[drift], streams=1000, sampled=rare) <= 0.07


def test_a_plain_interval_looked_at_as_often_loses_it():
    """What the tests above could see: the normal lower bound at the same level, at every event from the 30th."""
    rng = np.random.default_rng(4)
    ys = np.where(rng.random((800, 1000)) < 1 / 20, 20.0, 0.0)
    n = np.arange(1, 801)[:, None]
    mean = ys.cumsum(axis=0) / n
    error = np.sqrt(np.maximum((ys**2).cumsum(axis=0) / n - mean**2, 0) / n)
    assert (mean - 1.645 * error > 1.0)[29:].any(axis=0).mean() > 0.1


def test_the_bound_comes_close_with_many_events():
    ys = np.random.default_rng(2).exponential(size=(20_000, 20))
    assert wealth.lower_bound(fed(ys), alpha=ALPHA).min() > 0.93

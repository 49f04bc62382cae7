"""The interval holds the truth where weights are heavy and mostly not drawn; the normal one of the same scores does not."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from agents.evaluation import estimates, switched
from agents.evaluation.event import Event, Floats, Range
from bench.decisions.logged import drawn
from tests.agents.evaluation.planted import UNIT

STREAMS, N, K = 500, 200, 10
REACH = 3.1 * sqrt(0.93 * 0.07 / STREAMS)
"""More than this below .93 is seen once in a thousand such runs, if .93 is true."""
WORTH = np.concatenate([[0.5], np.full(K - 1, 0.2)])
SURE = np.concatenate([[0.991], np.full(K - 1, 0.001)])
"""As the default policy logs once it is sure."""
OTHER = np.concatenate([[0.8], [0.2], np.zeros(K - 2)])


def both(pmf: Floats, *, n: int = N) -> tuple[estimates.Estimate, estimates.Estimate]:
    """By logs of n decisions, without a model of rewards: the normal interval, and the one that counts what was not drawn."""
    chance, counts = np.random.default_rng(85), np.ones(STREAMS)
    plain, wide = estimates.empty(shape=(STREAMS,)), switched.empty(shape=(STREAMS,))
    logging, q_hat = np.tile(SURE, (STREAMS, 1)), np.zeros((STREAMS, K))
    for _ in range(n):
        action = drawn(logging, chance)
        reward = (chance.random(STREAMS) < WORTH[action]).astype(float)
        event = Event(logging, action, reward, q_hat, counts)
        plain, wide = estimates.add(plain, event, pmf), switched.add(wide, event, pmf)
    return estimates.dr(plain), switched.estimate(wide, rewards=UNIT)


def held(one: estimates.Estimate, truth: float) -> float:
    """The share of streams in which the interval holds it; no interval holds everything."""
    return float(((one.low <= truth) & (truth <= one.high)).mean())


def test_it_holds_the_truth_where_the_normal_interval_has_hardly_seen_what_matters() -> None:
    normal, found = both(OTHER, n=500)
    assert held(normal, float(OTHER @ WORTH)) < 0.8
    assert held(found, float(OTHER @ WORTH)) >= 0.93 - REACH
    assert np.isfinite(found.low).mean() > 0.85


def test_of_a_policy_that_the_log_hardly_ever_follows_it_says_that_there_is_too_little() -> None:
    even = np.full(K, 1 / K)
    normal, found = both(even)
    assert held(normal, float(even @ WORTH)) < 0.8
    assert np.isinf(found.low).mean() > 0.95
    assert (1 - held(found, float(even @ WORTH))) < 0.05


def test_on_its_own_log_it_is_as_wide_as_the_normal_interval() -> None:
    normal, found = both(SURE)
    assert (found.value == normal.value).all()
    assert 0.95 < (found.high - found.low).mean() / (normal.high - normal.low).mean() < 1.05
    assert held(found, float(SURE @ WORTH)) >= 0.93 - REACH


def test_where_the_rare_ones_are_less_sure_than_the_log_says_what_was_drawn_counts() -> None:
    """All that the log mostly draws earns the same: by its errors nothing could go wrong."""
    mean = np.concatenate([[0.0], np.full(K - 1, 0.5)])
    some, even = switched.empty(), np.full(K, 1 / K)
    chance, q_hat = np.random.default_rng(3), np.zeros(K)
    for _ in range(4000):
        action = chance.choice(K, p=SURE)
        some = switched.add(
            some, Event(SURE, np.array(action), np.array(float(chance.random() < mean[action])), q_hat), even
        )
    found = switched.estimate(some, rewards=Range(-2, 3))
    assert found.low < even @ mean < found.high
    assert found.high - found.low > 0.3


@pytest.mark.parametrize("logged", [0.0, 1e-6])
def test_what_the_log_can_never_draw_is_left_to_the_model_and_counted(logged: float) -> None:
    logging, pmf = np.array([1.0 - logged, logged]), np.array([0.9, 0.1])
    some = switched.empty()
    for reward in (0.0, 1.0) * 200:
        some = switched.add(some, Event(logging, np.array(0), np.array(reward), np.full(2, 0.5)), pmf)
    found = switched.estimate(some, rewards=UNIT)
    assert found.value == pytest.approx(0.5)
    # A tenth of its draws, wrong by half at the most, beside the noise of the others.
    assert 0.05 < 0.5 - found.low < 0.12


def test_an_event_of_a_sample_counts_as_often_as_it_stands_for() -> None:
    chance, all_, tenth = np.random.default_rng(4), switched.empty(), switched.empty()
    for _ in range(3000):
        action = drawn(SURE[None], chance)[0]
        reward, taken = np.array(float(chance.random() < WORTH[action])), chance.random() < 0.1
        event = Event(SURE, action, reward, np.full(K, 0.4))
        all_ = switched.add(all_, event, SURE)
        if taken:
            tenth = switched.add(tenth, Event(SURE, action, reward, event.q_hat, 10.0), SURE)
    whole, part = (switched.estimate(one, rewards=UNIT) for one in (all_, tenth))
    assert 2.5 < (part.high - part.low) / (whole.high - whole.low) < 4
    assert part.low < SURE @ WORTH < part.high

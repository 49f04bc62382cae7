"""The confidence sequence holds for one policy and for two, and is as tight as another library's, or tighter."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from estimators.bandits import cs
from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation import sequence
from agents.evaluation.event import Event, Range, at
from tests.agents.evaluation.planted import UNIT, pmfs, stream

REWARDS = Range(-0.3, 0.95)
LOGGING = np.array([0.6, 0.3, 0.08, 0.02])
TARGET = np.array([0.05, 0.15, 0.4, 0.4])
MEAN = np.array([0.2, 0.5, 0.7, 0.4])
Q = np.array([0.3, 0.4, 0.5, 0.6])


def fed(events, *, minus=None, **settings) -> sequence.Sequence:
    some = sequence.empty("mean" if minus is None else "difference", rewards=UNIT, **settings)
    for one in events:
        some = sequence.add(some, one, TARGET, minus=minus)
    return some


@given(
    logging=pmfs(4),
    pmf=pmfs(4),
    minus=pmfs(4),
    q=st.lists(st.floats(-5, 5), min_size=4, max_size=4),
    rewards=st.lists(st.sampled_from([REWARDS.low, 0.1, REWARDS.high]), min_size=4, max_size=4),
    reach=st.sampled_from([0.0, 0.5, 3.0]),
    of=st.sampled_from(["mean", "difference", "negative mean"]),
)
def test_scores_are_above_the_floor_and_right_in_the_mean_whatever_the_model_and_the_weights(
    logging, pmf, minus, q, rewards, reach, of
):
    delta = {"mean": pmf, "difference": pmf - minus, "negative mean": -pmf}[of]
    some = sequence.empty("mean", rewards=REWARDS, reach=reach)
    floor = REWARDS.width * (reach + (of != "mean"))
    found = []
    for action in range(4):
        one = Event(logging, np.array(action), np.array(rewards[action]), np.array(q))
        found.append(float(sequence.score_above_floor(some, one, delta, floor=floor)))
    # Had the cut at 0 taken off more than rounding, the mean would be off.
    assert min(found) >= 0
    assert logging @ found == pytest.approx(delta @ (np.array(rewards) - REWARDS.low) + floor, abs=1e-6)


def test_the_sequence_closes_in_on_the_truth():
    events = list(stream(1, logging=LOGGING, mean=MEAN, n=4000, q_hat=Q))
    widths = []
    for n in (50, 500, 4000):
        low, high = sequence.interval(fed(events[:n]), alpha=0.05)
        assert low <= TARGET @ MEAN <= high
        widths.append(high - low)
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_the_difference_closes_in_on_the_truth():
    low, high = sequence.interval(
        fed(stream(1, logging=LOGGING, mean=MEAN, n=4000, q_hat=Q), minus=LOGGING), alpha=0.05
    )
    assert low <= (TARGET - LOGGING) @ MEAN <= high
    assert high - low < 0.5


def test_a_policy_does_not_differ_from_itself():
    some = sequence.empty("difference", rewards=UNIT)
    for one in stream(2, logging=LOGGING, mean=MEAN, n=300):
        some = sequence.add(some, one, TARGET, minus=TARGET)
    low, high = sequence.interval(some, alpha=0.05)
    assert low <= 0 <= high
    assert sequence.log_wealth_above(some, 0.0) <= 1e-9


def test_the_wealth_is_enough_exactly_where_the_lower_bound_is():
    some = fed(stream(3, logging=LOGGING, mean=MEAN, n=800, q_hat=Q), minus=LOGGING)
    bound = float(sequence.lower(some, alpha=0.05))
    assert bound > -1
    assert sequence.log_wealth_above(some, bound) == pytest.approx(log(20), abs=1e-6)


def test_two_parts_of_a_log_add_up_to_the_whole():
    events = list(stream(4, logging=LOGGING, mean=MEAN, n=300))
    parts = sequence.merged(fed(events[:100]), fed(events[100:]))
    np.testing.assert_allclose(
        sequence.interval(parts, alpha=0.05), sequence.interval(fed(events), alpha=0.05), rtol=1e-9
    )


def test_sequences_of_different_things_do_not_add_up():
    with pytest.raises(AssertionError, match="different things"):
        sequence.merged(fed([]), fed([], reach=1.0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [200, 2000])
def test_on_ips_scores_it_agrees_with_vw_estimators_and_is_no_wider(seed, n):
    """The same variables (reach 0 and no model are inverse propensity scores); theirs bounds a betting martingale."""
    theirs = cs.Interval(rmin=0, rmax=1)
    events = list(stream(seed, logging=LOGGING, mean=MEAN, n=n))
    for one in events:
        theirs.add_example(
            p_log=float(at(one.logging, one.action)), r=float(one.reward), p_pred=float(at(TARGET, one.action))
        )
    low, high = sequence.interval(fed(events, reach=0.0), alpha=0.05)
    their_low, their_high = theirs.get(alpha=0.05)
    assert low <= TARGET @ MEAN <= high
    assert max(low, their_low) < min(high, their_high)
    assert high - low <= their_high - their_low
    assert high - low >= 0.4 * (their_high - their_low)


def test_the_model_makes_it_narrower():
    events = list(stream(5, logging=LOGGING, mean=MEAN, n=1000, q_hat=MEAN))
    blind = [replace(one, q_hat=np.zeros(4)) for one in events]
    seeing_low, seeing_high = sequence.interval(fed(events), alpha=0.05)
    blind_low, blind_high = sequence.interval(fed(blind), alpha=0.05)
    assert seeing_high - seeing_low < blind_high - blind_low


def test_the_running_mean_is_kept_while_tastes_move_and_the_policies_change():
    """1,000 streams; the difference rises and falls. At most 2.5 % lose it on a side; three standard errors add .015."""
    rng = np.random.default_rng(6)
    streams, k = 1000, 3
    some = sequence.empty("difference", rewards=UNIT, shape=(streams,))
    total, lost_below, lost_above = 0.0, np.zeros(streams, dtype=bool), np.zeros(streams, dtype=bool)
    for i in range(1, 501):
        mean = np.clip(0.4 + 0.3 * np.sin(i / 40 + np.arange(k)), 0, 1)
        champion = np.array([0.8, 0.15, 0.05]) if i % 100 < 50 else np.array([0.1, 0.6, 0.3])
        challenger = np.roll(champion, 1)
        action = rng.choice(k, p=champion, size=streams)
        reward = (rng.random(streams) < mean[action]).astype(float)
        logging = np.broadcast_to(champion, (streams, k))
        event = Event(logging, action, reward, np.full((streams, k), 0.4))
        some = sequence.add(
            some, event, np.broadcast_to(challenger, (streams, k)), minus=np.broadcast_to(champion, (streams, k))
        )
        total += (challenger - champion) @ mean
        if i % 10 == 0:
            low, high = sequence.interval(some, alpha=0.05)
            lost_below |= low > total / i
            lost_above |= high < total / i
    assert lost_below.mean() <= 0.04
    assert lost_above.mean() <= 0.04
    assert (high - low).mean() < 0.6

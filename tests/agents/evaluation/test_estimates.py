"""The running sums give what the formulas and another library give."""

from __future__ import annotations

import numpy as np
import pytest
from estimators.bandits import gaussian, ips, snips
from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation import estimates
from agents.evaluation.event import Event, at
from tests.agents.evaluation.planted import pmfs, stream

LOGGING = np.array([0.6, 0.3, 0.08, 0.02])
TARGET = np.array([0.05, 0.15, 0.4, 0.4])
MEAN = np.array([0.2, 0.5, 0.7, 0.4])
EVENTS = list(stream(5, logging=LOGGING, mean=MEAN, n=400, q_hat=np.array([0.3, 0.4, 0.5, 0.6])))


def fed(events=EVENTS, pmf=TARGET) -> estimates.Estimates:
    some = estimates.empty()
    for one in events:
        some = estimates.add(some, one, pmf)
    return some


@pytest.mark.parametrize(("ours", "theirs"), [(estimates.ips, ips), (estimates.snips, snips)])
def test_the_estimate_is_that_of_vw_estimators(ours, theirs):
    oracle = theirs.Estimator()
    for one in EVENTS:
        oracle.add_example(p_log=at(one.logging, one.action), r=float(one.reward), p_pred=at(TARGET, one.action))
    assert ours(fed()).value == pytest.approx(oracle.get(), rel=1e-12)


def test_the_interval_of_ips_is_that_of_vw_estimators():
    oracle = gaussian.Interval()
    for one in EVENTS:
        oracle.add_example(p_log=at(one.logging, one.action), r=float(one.reward), p_pred=at(TARGET, one.action))
    found = estimates.ips(fed())
    assert [found.low, found.high] == pytest.approx(oracle.get(0.05), rel=1e-12)


def test_the_interval_of_snips_is_the_delta_methods():
    w = np.array([TARGET[one.action] / LOGGING[one.action] for one in EVENTS])
    r = np.array([one.reward for one in EVENTS])
    value = (w * r).sum() / w.sum()
    half = estimates.Z_95 * np.sqrt((w**2 * (r - value) ** 2).sum()) / w.sum()
    found = estimates.snips(fed())
    assert [found.low, found.high] == pytest.approx([value - half, value + half], rel=1e-9)


def test_a_policy_evaluated_on_its_own_log_earns_the_mean_of_its_rewards():
    found, mean = fed(pmf=LOGGING), np.mean([one.reward for one in EVENTS])
    assert estimates.ips(found).value == pytest.approx(mean, abs=1e-15)
    assert estimates.snips(found).value == pytest.approx(mean, abs=1e-15)
    assert estimates.dr(found).low < mean < estimates.dr(found).high
    assert estimates.mean_weight(found) == 1.0
    assert estimates.effective_n(found) == len(EVENTS)


@given(logging=pmfs(4), pmf=pmfs(4), q=st.lists(st.floats(-5, 5), min_size=4, max_size=4))
def test_the_doubly_robust_score_is_the_targets_value_in_the_mean_whatever_the_model(logging, pmf, q):
    scores = []
    for action in range(4):
        one = Event(logging, np.array(action), np.array(MEAN[action]), np.array(q))
        scores.append(estimates.dr(estimates.add(estimates.empty(), one, pmf)).value)
    assert logging @ scores == pytest.approx(pmf @ MEAN, abs=1e-9)


def test_a_perfect_model_leaves_nothing_to_chance():
    events = [Event(LOGGING, np.array(a), np.array(MEAN[a]), MEAN) for a in (0, 1, 1, 3, 2)]
    found = estimates.dr(fed(events))
    assert found.value == pytest.approx(TARGET @ MEAN)
    assert found.high - found.low == pytest.approx(0, abs=1e-6)


def test_two_parts_of_a_log_add_up_to_the_whole():
    whole, parts = fed(), estimates.merged(fed(EVENTS[:150]), fed(EVENTS[150:]))
    assert parts.n == whole.n
    assert estimates.dr(parts).value == pytest.approx(float(estimates.dr(whole).value), rel=1e-12)
    assert estimates.snips(parts).low == pytest.approx(float(estimates.snips(whole).low), rel=1e-12)


def test_of_one_event_nothing_is_sure():
    found = estimates.dr(fed(EVENTS[:1]))
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_wrong_propensities_move_the_mean_weight_off_one():
    lied = list(stream(6, logging=LOGGING, mean=MEAN, n=400, logged_as=np.full(4, 0.25)))
    assert abs(estimates.weight_z(fed(lied))) > 5
    assert abs(estimates.weight_z(fed())) < 3

"""What `bench/decisions/honesty.py` measures at full length, here as short as still can fail.

Of `streams` independent streams, a share p of which is in truth, more than p + 3.1 standard errors are seen once in a
thousand; so a share seen beyond that refutes p. The seeds are fixed: a run that passes, passes again.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from bench.decisions import honesty_coverage as coverage
from bench.decisions import honesty_watch as watch
from bench.decisions.logged import worlds

COVERED_STREAMS = 400
WATCHED_STREAMS = 200


def reach(p: float, streams: int) -> float:
    return 3.1 * sqrt(p * (1 - p) / streams)


COVERED_AT_LEAST = 0.93 - reach(0.93, COVERED_STREAMS)
"""About .890."""
COVERED_AT_MOST = 0.975 + reach(0.975, COVERED_STREAMS)
"""About .999."""
FALSE_AT_MOST = 0.05 + reach(0.05, WATCHED_STREAMS)
"""About .098."""


@pytest.fixture(scope="module")
def held() -> coverage.Coverage:
    those = worlds(np.random.default_rng(21))
    return coverage.covered(those, np.random.default_rng(22), streams=COVERED_STREAMS, checkpoints=(800,))


@pytest.fixture(scope="module")
def equal() -> watch.Watched:
    those = worlds(np.random.default_rng(23))
    return watch.watched(those, np.random.default_rng(24), lift=0.0, streams=WATCHED_STREAMS, n=1500)


@pytest.fixture(scope="module")
def better() -> watch.Watched:
    those = worlds(np.random.default_rng(23))
    return watch.watched(those, np.random.default_rng(25), lift=0.1, streams=WATCHED_STREAMS, n=2000)


def test_the_interval_of_the_past_fit_estimate_holds_the_truth_as_often_as_it_says(held):
    assert COVERED_AT_LEAST <= held.inside[coverage.DR][0] <= COVERED_AT_MOST


@pytest.mark.parametrize("method", [coverage.IN_SAMPLE, coverage.WRONG])
def test_what_looks_precise_and_is_wrong_would_have_failed_that(held, method):
    assert held.inside[method][0] < COVERED_AT_LEAST


def test_the_sequence_keeps_the_truth_at_every_look_and_the_interval_does_not(held):
    assert held.left[coverage.ALWAYS] <= 0.05
    assert held.left[coverage.DR] > 0.05 + reach(0.05, COVERED_STREAMS)


def test_planted_wrong_propensities_are_caught_and_right_ones_are_not(held):
    assert held.alarms["wrong"] > 0.5
    assert held.alarms["right"] <= 0.001 + reach(0.001, COVERED_STREAMS)
    assert abs(held.mean_weight["right"] - 1) < 0.02 < abs(held.mean_weight["wrong"] - 1)


def test_a_policy_evaluated_on_its_own_log_earns_its_mean_reward():
    those = worlds(np.random.default_rng(26))
    assert max(coverage.on_policy_gap(those, np.random.default_rng(27), streams=50, n=200)) < 1e-12


def test_equal_policies_watched_continuously_are_seldom_promoted(equal):
    assert equal.promoted(watch.GATE) <= FALSE_AT_MOST


def test_looking_at_a_plain_interval_instead_would_have_failed_that(equal):
    assert equal.promoted(watch.NAIVE) > FALSE_AT_MOST


def test_a_real_difference_is_found_and_sooner_than_by_the_closed_form(better):
    assert better.promoted(watch.GATE) > FALSE_AT_MOST
    assert better.promoted(watch.GATE) > 2 * better.promoted(watch.PLUG_IN)

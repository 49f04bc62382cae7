"""Draws that do not fit the log are seen; draws that do raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest

from agents.evaluation import propensities
from tests.agents.evaluation.planted import stream

LOGGING = np.array([0.7, 0.2, 0.08, 0.02])
TARGET = np.array([0.1, 0.2, 0.3, 0.4])
MEAN = np.full(4, 0.5)
FLATTER = 0.5 * LOGGING + 0.125


def looks(*, logged_as: np.ndarray, seed: int, pmf=TARGET, n: int = 1500) -> bool:
    some, spoke = propensities.empty(), False
    for one in stream(seed, logging=LOGGING, mean=MEAN, n=n, logged_as=logged_as):
        some = propensities.add(some, one, pmf)
        spoke = spoke or bool(propensities.is_off(some, alpha=0.001))
    return spoke


@pytest.mark.parametrize("seed", range(5))
def test_a_log_that_claims_to_explore_more_than_it_did_is_caught(seed):
    assert looks(logged_as=FLATTER, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_log_that_tells_the_truth_raises_no_alarm(seed):
    assert not looks(logged_as=LOGGING, seed=seed)


def test_a_lie_in_the_other_direction_is_caught_too():
    assert looks(logged_as=np.array([0.97, 0.01, 0.01, 0.01]), seed=1)


def test_a_lie_that_leaves_the_targets_mean_weight_at_one_is_caught():
    """The target is what the log claims to be, so that every weight is 1 and shows nothing."""
    assert looks(logged_as=FLATTER, seed=1, pmf=FLATTER)

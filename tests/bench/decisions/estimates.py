"""What a policy would have earned, from the log of another: the one place where this benchmark's estimators stand.

Dudík et al. 2014, "Doubly robust policy evaluation and optimization". A row's reward model is fitted on earlier rows
only. It never clips a weight.

TO REPLACE by agents/evaluation once that is merged: `ips`, `snips` and `doubly_robust` keep their places here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from agents.policies.learner import Floats, Ints

BLOCKS = 20
"""A log is cut into so many; the reward model of one knows those before it."""
SHRINK_ROWS = 100.0
"""An action's rate counts the overall one as so many rows of its own."""
Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """With its nominal 95 % interval (normal), and what to judge the weights by."""

    value: float
    se: float
    weight_mean: float
    """Off 1 where the propensities are wrong."""
    effective: float
    """As many rows would say as much if they came from the policy itself."""

    @property
    def low(self) -> float:
        return self.value - Z95 * self.se

    @property
    def high(self) -> float:
        return self.value + Z95 * self.se


def estimate(each: Floats, weight: Floats) -> Estimate:
    """The mean of what each row says. each, weight: (n,).

    >>> estimate(np.array([0.0, 1.0]), np.array([1.0, 1.0])).value
    0.5
    """
    effective = float(weight.sum() ** 2 / max((weight**2).sum(), 1e-12))
    return Estimate(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))), float(weight.mean()), effective)


def ips(weight: Floats, reward: Floats) -> Estimate:
    """Inverse propensity scores: the mean of w r."""
    return estimate(weight * reward, weight)


def snips(weight: Floats, reward: Floats) -> Estimate:
    """Self-normalized (Swaminathan & Joachims 2015): the sum of w r over that of w; its error by the delta method."""
    value = float((weight * reward).sum() / weight.sum())
    found = estimate(weight * (reward - value) / weight.mean(), weight)
    return Estimate(value, found.se, found.weight_mean, found.effective)


def doubly_robust(target: Floats, *, action: Ints, propensity: Floats, reward: Floats) -> tuple[Estimate, Floats]:
    """The estimate, and what each row says of the target: Σₐ π(a) q(a) + w (r - q(its action)).

    target: (n, K), the probability of each action in each row's place.
    """
    at = np.arange(len(action))
    q = past_rates(action, reward, actions=target.shape[1])
    weight = target[at, action] / propensity
    each = (target * q).sum(axis=1) + weight * (reward - q[at, action])
    return estimate(each, weight), each


def past_rates(action: Ints, reward: Floats, *, actions: int) -> Floats:
    """(n, K): each action's mean reward in the blocks before a row's own, drawn towards that of all; 0 in the first.

    >>> past_rates(np.array([0, 1] * 20), np.array([1.0, 0.0] * 20), actions=2)[[0, -1]].round(2).tolist()
    [[0.0, 0.0], [0.58, 0.42]]
    """
    edges = np.linspace(0, len(action), BLOCKS + 1).astype(np.int64)
    q = np.zeros((len(action), actions))
    for begin, end in pairwise(edges[1:]):
        shown = np.bincount(action[:begin], minlength=actions)
        won = np.bincount(action[:begin], weights=reward[:begin], minlength=actions)
        q[begin:end] = (won + SHRINK_ROWS * reward[:begin].mean()) / (shown + SHRINK_ROWS)
    return q

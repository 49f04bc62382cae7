"""What a policy would have earned, from the log of another, of which only the drawn action's probability is known.

The estimators are the product's (agents.evaluation); a row's reward model is fitted on earlier rows only. It never clips
a weight.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from agents.bandit.learner import Floats, Ints
from agents.evaluation import estimates
from agents.evaluation.estimates import Estimates
from agents.evaluation.event import Event

BLOCKS = 20
"""A log is cut into so many; the reward model of one knows those before it."""
SHRINK_ROWS = 100.0
"""An action's rate counts the overall one as so many rows of its own."""


def estimated(target: Floats, *, action: Ints, propensity: Floats, reward: Floats) -> tuple[Estimates, Floats]:
    """The sums of all rows, and the doubly robust score of each: (n,).

    target: (n, K), the probability of each action in each row's place; the others: (n,).
    """
    n, k = target.shape
    logging = np.zeros((n, k))
    logging[np.arange(n), action] = propensity
    event = Event(logging, action, reward, past_rates(action, reward, actions=k))
    each = estimates.add(estimates.empty(shape=(n,)), event, target)
    return Estimates(n, each.sums.sum(axis=1)), each.sums[6]


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

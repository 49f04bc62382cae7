"""A reward model for the doubly robust estimator: ridge regression on a candidate's features, fitted on the past only.

It never predicts an event that it has seen: that is what makes an in-sample model look precise and be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agents.evaluation.event import Floats

REFIT_EVERY = 16
"""Events. Any number is valid; a greater one is cheaper and a little less precise."""
RIDGE = 5.0
"""About the noise of a reward (.25) over the variance expected of a coefficient (.05)."""


@dataclass(frozen=True, slots=True)
class RewardModel:
    """Sums over the events seen, and the coefficients as of the last fit."""

    n: int
    gram: Floats
    """(..., d, d): Σ x xᵀ"""
    moment: Floats
    """(..., d): Σ x r"""
    beta: Floats
    """(..., d)"""


def empty(d: int, *, shape: tuple[int, ...] = ()) -> RewardModel:
    """Predicts 0 everywhere.

    >>> empty(2).beta.tolist()
    [0.0, 0.0]
    """
    return RewardModel(0, np.zeros((*shape, d, d)), np.zeros((*shape, d)), np.zeros((*shape, d)))


def predict(model: RewardModel, x: Floats) -> Floats:
    """Return the mean reward of each candidate; x: (..., K, d) -> (..., K). All zeros ("no tip") are worth exactly 0.

    >>> predict(empty(2), np.ones((3, 2))).tolist()
    [0.0, 0.0, 0.0]
    """
    q_hat: Floats = (x @ model.beta[..., None])[..., 0]
    return q_hat


def learn(model: RewardModel, x: Floats, reward: Floats) -> RewardModel:
    """Take in the drawn candidate's features, (..., d), and its reward, (...); O(d²), and a solve every so often.

    >>> model = empty(1)
    >>> for _ in range(REFIT_EVERY):
    ...     model = learn(model, np.array([1.0]), np.array(0.5))
    >>> round(float(predict(model, np.array([[1.0]]))[0]), 3)
    0.381
    """
    n = model.n + 1
    gram = model.gram + x[..., :, None] * x[..., None, :]
    moment = model.moment + x * np.asarray(reward)[..., None]
    learned = RewardModel(n, gram, moment, model.beta)
    return refitted(learned) if n % REFIT_EVERY == 0 else learned


def refitted(model: RewardModel) -> RewardModel:
    """Return the same sums with coefficients that follow from all of them."""
    penalized = model.gram + RIDGE * np.eye(model.beta.shape[-1])
    solved = np.linalg.solve(penalized, model.moment[..., None])  # noqa: TID251 - outside `step`, whose bits are fixed
    return replace(model, beta=solved[..., 0].astype(np.float64))


def merged(a: RewardModel, b: RewardModel) -> RewardModel:
    """Return what both have seen, fitted again. Only for events that neither has seen."""
    return refitted(RewardModel(a.n + b.n, a.gram + b.gram, a.moment + b.moment, a.beta))

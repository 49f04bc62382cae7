"""LinUCB with disjoint linear models, straight from the paper, over float64: what oO's fixed point is measured against.

Li et al. 2010, "A contextual-bandit approach to personalized news article recommendation", Algorithm 1. It never
forgets, knows no user, and has no probabilities but 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agents.bandit.learner import Floats, Ints

UNIT = 64


@dataclass(slots=True)
class LinUcb:
    """One ridge regression for each action, of the row that stands for it."""

    alpha: float
    ridge: float = 1.0
    _inverse: Floats = field(default_factory=lambda: np.zeros((0, 0, 0)))
    """(K, d, d), kept by the Sherman-Morrison formula."""
    _moment: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    _beta: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        del user_id, silent, time_ms, key
        k, d = x.shape
        if self._inverse.shape != (k, d, d):
            self._inverse = np.repeat(np.eye(d)[None] / self.ridge, k, axis=0)
            self._moment, self._beta = np.zeros((k, d)), np.zeros((k, d))
        z = x / UNIT
        spread = np.sqrt(((self._inverse @ z[:, :, None])[:, :, 0] * z).sum(axis=1))
        scores = (self._beta * z).sum(axis=1) + self.alpha * spread
        best = scores >= scores.max() - 1e-12
        p: Floats = best / best.sum()
        return p

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        del user_id, propensity, time_ms
        z = x[action] / UNIT
        inverse = self._inverse[action]
        along = inverse @ z
        inverse -= np.outer(along, along) / (1.0 + z @ along)
        self._moment[action] += reward * z
        self._beta[action] = inverse @ self._moment[action]

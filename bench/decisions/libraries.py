"""mabwiser's and river's contextual bandits behind the protocol of learners.

Neither says with which probability it chooses: what they chose has 1, so nobody can estimate from their logs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mabwiser.mab import MAB, LearningPolicy
from river.bandit import LinUCBDisjoint

from agents.bandit.learner import Floats, Ints

UNIT = 64


def _only(k: int, chosen: int) -> Floats:
    p = np.zeros(k)
    p[chosen] = 1.0
    return p


@dataclass(slots=True)
class Mabwiser:
    """One ridge regression for each action; every row of a slate is the context."""

    policy: LearningPolicy.LinUCB | LearningPolicy.LinTS | LearningPolicy.LinGreedy
    seed: int
    _mab: MAB | None = None

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        del user_id, silent, time_ms, key
        if self._mab is None:
            self._mab = MAB(arms=list(range(len(x))), learning_policy=self.policy, seed=self.seed)
            # It wants something to fit before it predicts: a reward of 0 for nothing at all, which moves no coefficient.
            self._mab.fit([0], [0.0], np.zeros((1, x.shape[1])))
        return _only(len(x), self._mab.predict(x[:1] / UNIT))

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        del user_id, propensity, time_ms
        assert self._mab is not None
        self._mab.partial_fit([action], [reward], x[action : action + 1] / UNIT)


class River:
    """LinUCB with disjoint models: a Bayesian linear regression for each action; every row of a slate is the context."""

    def __init__(self, *, alpha: float, beta: float, seed: int) -> None:
        """alpha: variance of the prior; beta: precision of the noise. Its bound is one standard deviation up."""
        self._policy = LinUCBDisjoint(alpha=alpha, beta=beta, seed=seed)

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        del user_id, silent, time_ms, key
        return _only(len(x), self._policy.pull(range(len(x)), context=_named(x[0])))

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        del user_id, propensity, time_ms
        self._policy.update(action, _named(x[action]), reward)


def _named(row: Ints) -> dict[int, float]:
    return dict(enumerate((row / UNIT).tolist()))

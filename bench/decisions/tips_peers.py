"""What the policies are compared with on simulated tips: Vowpal Wabbit, growthbook's bandit (tips_growthbook), and three written here apart
from the product.

Each implements the product's protocol for learners. Where a slate has a row that says nothing, all of them know, as ours
does, that it is worth 0 and what an interruption costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import vowpalwabbit

from bench.decisions.slates import PER_USER
from bench.decisions.tips_growthbook import Growthbook
from streams.units import HOUR_MS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ONE = 64


@dataclass(slots=True)
class VowpalWabbit:
    """cb_explore_adf over the candidates of a slate; namespace a: the candidate's features, u: who the person is.

    `arguments` choose exploration and learning rate; `-q ua` crosses each feature with the person.
    """

    arguments: str
    cost: float
    _workspace: vowpalwabbit.Workspace = field(init=False)
    _lines: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """Of the decisions whose reward may still come, what was predicted on."""

    def __post_init__(self) -> None:
        self._workspace = vowpalwabbit.Workspace(f"--quiet --cb_explore_adf --noconstant -b 20 {self.arguments}")

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        lines = [f"shared |u {user_id}"]
        for index, row in enumerate(x.tolist()):
            if index == silent:
                # Nobody ever learns of it: its weight, and so its cost, stays 0.
                lines.append("|n nothing")
            else:
                lines.append("|a " + " ".join([f"{at}:{value / ONE:g}" for at, value in enumerate(row) if value]))
        self._lines[user_id, time_ms] = lines
        scores = np.array(self._workspace.predict(lines))
        return scores / scores.sum()

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        lines = self._lines.pop((user_id, time_ms))
        lines[1 + action] = f"0:{self.cost - reward:g}:{propensity:g} {lines[1 + action]}"
        self._workspace.learn(lines)


@dataclass(slots=True)
class HybridLinUCB:
    """Li et al. 2010, "A contextual-bandit approach to personalized news article recommendation", Algorithm 2.

    r = zᵀβ + bᵀθᵤ: z all features, shared; b the first of them, each person's own. The person stands where the paper has
    the article: it is what the second level is kept apart for.
    """

    alpha: float
    cost: float
    shared_ridge: float = 1.0
    user_ridge: float = 1.0
    _a0: Floats | None = None
    _b0: Floats | None = None
    _users: dict[str, list[Floats]] = field(default_factory=dict)

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        mean, variance = self.expect(user_id, x)
        return greatest(mean + self.alpha * np.sqrt(np.maximum(variance, 0.0)) - self.cost, silent)

    def expect(self, user_id: str, x: Ints) -> tuple[Floats, Floats]:
        """Mean and variance (in units of the noise's) of each row's reward."""
        z = x / ONE
        b = z[:, :PER_USER]
        a0, b0, (a, cross, moment) = *self._shared(z.shape[1]), self._user(user_id, z.shape[1])
        a0_inverse, a_inverse = np.linalg.inv(a0), np.linalg.inv(a)
        beta = a0_inverse @ b0
        theta = a_inverse @ (moment - cross @ beta)
        spread = a_inverse @ cross @ a0_inverse
        variance = (
            np.einsum("ki,ij,kj->k", z, a0_inverse, z)
            - 2.0 * np.einsum("ki,ij,kj->k", b, spread, z)
            + np.einsum("ki,ij,kj->k", b, a_inverse, b)
            + np.einsum("ki,ij,kj->k", b, spread @ cross.T @ a_inverse, b)
        )
        return z @ beta + b @ theta, variance

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        z = x[action] / ONE
        b = z[:PER_USER]
        a0, b0 = self._shared(len(z))
        a, cross, moment = self._user(user_id, len(z))
        before = np.linalg.solve(a, np.column_stack([cross, moment]))
        a0 += cross.T @ before[:, :-1]
        b0 += cross.T @ before[:, -1]
        a += np.outer(b, b)
        cross += np.outer(b, z)
        moment += reward * b
        after = np.linalg.solve(a, np.column_stack([cross, moment]))
        a0 += np.outer(z, z) - cross.T @ after[:, :-1]
        b0 += reward * z - cross.T @ after[:, -1]

    def _shared(self, d: int) -> tuple[Floats, Floats]:
        if self._a0 is None or self._b0 is None:
            self._a0, self._b0 = self.shared_ridge * np.eye(d), np.zeros(d)
        return self._a0, self._b0

    def _user(self, user_id: str, d: int) -> list[Floats]:
        if user_id not in self._users:
            self._users[user_id] = [self.user_ridge * np.eye(PER_USER), np.zeros((PER_USER, d)), np.zeros(PER_USER)]
        return self._users[user_id]


@dataclass(slots=True)
class Ridge:
    """LinUCB on one ridge regression, for all people together or for each alone (Li et al. 2010, Algorithm 1)."""

    alpha: float
    cost: float
    per_user: bool
    ridge: float = 1.0
    _sums: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    """Inverse of the information, and moment: the inverse by Sherman and Morrison, exact enough for some thousand."""

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        z = x / ONE
        inverse, moment = self._of(user_id, z.shape[1])
        width = np.sqrt(((z @ inverse) * z).sum(axis=1))
        return greatest(z @ (inverse @ moment) + self.alpha * width - self.cost, silent)

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        z = x[action] / ONE
        inverse, moment = self._of(user_id, len(z))
        seen = inverse @ z
        inverse -= np.outer(seen, seen) / (1.0 + z @ seen)
        moment += reward * z

    def _of(self, user_id: str, d: int) -> tuple[Floats, Floats]:
        whose = user_id if self.per_user else ""
        if whose not in self._sums:
            self._sums[whose] = np.eye(d) / self.ridge, np.zeros(d)
        return self._sums[whose]


def greatest(scores: Floats, silent: int | None) -> Floats:
    """All probability on the greatest score; equals share it."""
    if silent is not None:
        scores[silent] = 0.0
    best = scores >= scores.max() - 1e-12
    return best / best.sum()


Peer = Callable[[float], "VowpalWabbit | HybridLinUCB | Ridge | Growthbook"]
"""From the cost of an interruption to a learner that knows nothing yet."""

GRIDS: Mapping[str, Mapping[str, Peer]] = {
    "VW tuned": {
        f"{pairs} {explore} {rate}": lambda cost, pairs=pairs, explore=explore, rate=rate: VowpalWabbit(
            f"--cb_type mtr {pairs} {explore} {rate}", cost
        )
        for pairs in ("-q ua", "-q ua -q aa")
        for explore in ("--squarecb --gamma_scale 1000", "--epsilon 0")
        for rate in ("-l 0.3", "-l 1", "-l 1 --power_t 0")
    },
    "hybrid LinUCB": {
        f"alpha {alpha} ridge {ridge}": lambda cost, alpha=alpha, ridge=ridge: HybridLinUCB(
            alpha, cost, shared_ridge=ridge, user_ridge=ridge
        )
        for alpha in (0.02, 0.1, 0.25)
        for ridge in (4.0, 16.0)
    },
    "growthbook": {
        f"leaves {leaves} every {hours} h": lambda cost, leaves=leaves, hours=hours: Growthbook(
            cost, leaves, 100, hours * HOUR_MS
        )
        for leaves in (2, 5)
        for hours in (1, 24)
    },
    "shared only": {
        f"alpha {alpha}": lambda cost, alpha=alpha: Ridge(alpha, cost, per_user=False) for alpha in (0.02, 0.1, 0.25)
    },
    "per user only": {
        f"alpha {alpha} ridge {ridge}": lambda cost, alpha=alpha, ridge=ridge: Ridge(
            alpha, cost, per_user=True, ridge=ridge
        )
        for alpha in (0.02, 0.1, 0.25)
        for ridge in (1.0, 4.0)
    },
}
"""Each is tuned in each scenario, on people of its own, and the best is what ours is measured against."""

FIXED: Mapping[str, Peer] = {"VW default": lambda cost: VowpalWabbit("-q ua", cost)}
"""As it comes: epsilon-greedy with epsilon .05."""

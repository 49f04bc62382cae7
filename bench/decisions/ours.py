"""oO's policies as the benchmarks of decisions play them: the one place where a policy is plugged in. It decides nothing.

Every set comes as a slate with a row for each action, and every row is the same: a constant, then the context. Which
action a row stands for is its place. A policy whose features tell actions apart wants blocks instead: `Blocks` makes
them, (K, K x d), each action's row the context in a block of its own and noughts elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from agents.bandit.belief import Shape
from agents.bandit.learner import Floats, Ints, Learner
from agents.in_memory import InMemory
from bench.decisions.experts import Experts
from oo.v1 import policy_pb2
from tables.sums import UNIT

REFIT_EVERY = 100
FLOOR_PERMILLE = 20
EXPLORATION = 6
"""The product's own: 6/64 of a posterior deviation."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a learner is told before its first round."""

    actions: int
    d: int
    """Of each row of a slate, its constant included."""
    seed: int


Make = Callable[[Setting], Learner]


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every candidate alike, and nothing learned."""

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        del user_id, silent, time_ms, key
        return np.full(len(x), 1.0 / len(x))

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Hands a learner each action's row in a block of its own."""

    learner: Learner

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        return self.learner.pmf(user_id, in_blocks(x), silent=silent, time_ms=time_ms, key=key)

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        self.learner.learn(user_id, in_blocks(x), action=action, reward=reward, propensity=propensity, time_ms=time_ms)


def in_blocks(x: Ints) -> Ints:
    """(K, d) -> (K, K x d).

    >>> in_blocks(np.array([[64, 5], [64, 5]])).tolist()
    [[64, 5, 0, 0], [0, 0, 64, 5]]
    """
    k, d = x.shape
    blocks = np.zeros((k, k, d), dtype=np.int64)
    blocks[np.arange(k), np.arange(k)] = x
    return blocks.reshape(k, k * d)


@dataclass(frozen=True, slots=True)
class Places:
    """Hands a learner one more feature for each place of the slate: 1 in the row that stands there."""

    learner: Learner

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        return self.learner.pmf(user_id, with_place(x), silent=silent, time_ms=time_ms, key=key)

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        x = with_place(x)
        self.learner.learn(user_id, x, action=action, reward=reward, propensity=propensity, time_ms=time_ms)


def with_place(x: Ints) -> Ints:
    """(K, d) -> (K, d + K).

    >>> with_place(np.array([[64, 5], [64, 7]])).tolist()
    [[64, 5, 64, 0], [64, 7, 0, 64]]
    """
    return np.hstack([x, UNIT * np.eye(len(x), dtype=np.int64)])


def in_memory(name: str, d: int, *, q: int, variance: float, exploration: int) -> InMemory:
    """One of the product's policies that knows nothing beforehand: mean 0, the given variance of each coefficient."""
    shape = Shape(mean=(0.0,) * d, q=q, variance=variance)
    config = policy_pb2.DecisionConfig(exploration=exploration, floor_permille=FLOOR_PERMILLE)
    return InMemory(name, shape=shape, config=config, refit_every=REFIT_EVERY)


def _clicks(setting: Setting, *, places: bool) -> Learner:
    """A click in 200 has a thirtieth of the variance that policies take a reward to have: so the small prior variance."""
    one = in_memory("lin_ts", setting.d + places * setting.actions, q=1, variance=1e-4, exploration=10)
    return Places(one) if places else one


def _race(name: str, setting: Setting) -> Learner:
    return in_memory(name, setting.d, q=16, variance=0.04, exploration=EXPLORATION)


OURS: Mapping[str, Make] = {
    "experts": lambda setting: Experts(floor=0.0, seed=setting.seed),
    "experts, floor .02": lambda setting: Experts(floor=0.02, seed=setting.seed),
    "experts, linear alone": lambda setting: Experts(floor=0.0, lengths=(), additive_lengths=()),
    "experts, one length": lambda setting: Experts(floor=0.0, lengths=(1.0,), seed=setting.seed),
    "experts, none additive": lambda setting: Experts(floor=0.0, additive_lengths=(), seed=setting.seed),
    "random": lambda setting: Uniform(),
}
"""By name, for supervised sets, whose actions are known by their place alone.

The first has no floor under its probabilities, as VW's greedy has none; the second has the product's, and what that costs.
"""

DEFAULT = "experts"
"""Of those, the one that is declared for them before the run, and held against the goals."""

LOGGED: Mapping[str, Make] = {
    "lin_ts, items by place": lambda setting: _clicks(setting, places=True),
    "lin_ts": lambda setting: _clicks(setting, places=False),
    "random": lambda setting: Uniform(),
}
"""For the Open Bandit logs, whose rows are told apart by their features; the first is held against the goal."""

SPEED: Mapping[str, Make] = {
    "mixed": lambda setting: _race("mixed", setting),
    "lin_ts": lambda setting: _race("lin_ts", setting),
}
"""For the race, d up to 128; the first is held against the goal."""

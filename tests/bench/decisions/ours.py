"""oO's policies as the benchmarks of decisions play them: the one place where a policy is plugged in. It decides nothing.

Every set comes as a slate with a row for each action, and every row is the same: a constant, then the context. Which
action a row stands for is its place. A policy whose features tell actions apart wants blocks instead: `Blocks` makes
them, (K, K x d), each action's row the context in a block of its own and noughts elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from agents.policies.learner import Floats, Ints, Learner


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


OURS: Mapping[str, Make] = {
    "random": lambda setting: Uniform(),
}
"""By name, for supervised sets, whose actions are known by their place alone."""

DEFAULT = "random"
"""Of those, the one that is declared for them before the run, and held against the goals."""

LOGGED: Mapping[str, Make] = {
    "random": lambda setting: Uniform(),
}
"""For the Open Bandit logs, whose rows are told apart by their features; the first is held against the goal."""

SPEED: Mapping[str, Make] = {
    "random": lambda setting: Uniform(),
}
"""For the race, d up to 128; the first is held against the goal."""

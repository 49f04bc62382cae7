"""Logs of decisions whose truth is known: many streams at once, from worlds of finitely many slates.

A world has so many slates that a table holds all that is true of it: the mean reward of each candidate is written down,
so a policy's value is a sum and not an estimate. Means are no linear function of the features, rewards are what
reactions are worth (done, dismissed, expired), and the logging policy may learn as it goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agents.evaluation import model
from agents.evaluation.counted import UNIT, reward_range
from agents.evaluation.event import Event, Floats, Ints, at
from agents.reward import DEFAULT

REWARDS = reward_range(DEFAULT)
DONE = (DEFAULT.reward_done - DEFAULT.interruption_cost) / UNIT
DISMISSED = (DEFAULT.reward_dismiss - DEFAULT.interruption_cost) / UNIT
EXPIRED = (DEFAULT.reward_expired - DEFAULT.interruption_cost) / UNIT
FLOOR = DEFAULT.floor_permille / 1000


@dataclass(frozen=True, slots=True)
class Worlds:
    """W worlds of S slates of K candidates with d features."""

    x: Floats
    """(W, S, K, d)"""
    p_done: Floats
    """(W, S, K)"""
    p_dismissed: Floats
    """(W, S, K)"""

    @property
    def mean(self) -> Floats:
        """(W, S, K): the true mean rewards."""
        return self.p_done * DONE + self.p_dismissed * DISMISSED + (1 - self.p_done - self.p_dismissed) * EXPIRED

    def value(self, pmf: Floats) -> Floats:
        """(W,): the true mean reward of a policy given as a table (W, S, K)."""
        return (pmf * self.mean).sum(axis=-1).mean(axis=-1)


def worlds(rng: np.random.Generator, *, w: int = 20, s: int = 200, k: int = 6, d: int = 8) -> Worlds:
    x = rng.standard_normal((w, s, k, d)) / np.sqrt(d)
    x[..., 0] = 1.0
    taste = 1.5 * rng.standard_normal((w, 1, d, 1))
    score = (x @ taste)[..., 0] - taste[:, :, 0] + 0.7 * np.sin(5 * x[..., 1]) + 0.4 * rng.standard_normal((w, s, k))
    p_done = 0.8 / (1 + np.exp(0.6 - score))
    return Worlds(x, p_done, (1 - p_done) * 0.25)


def softmax(score: Floats, *, floor: float = FLOOR) -> Floats:
    """Probabilities of at least floor / K; (..., K)."""
    e = np.exp(score - score.max(axis=-1, keepdims=True))
    return (1 - floor) * e / e.sum(axis=-1, keepdims=True) + floor / score.shape[-1]


def near_truth(those: Worlds, rng: np.random.Generator, *, noise: float, sharpness: float) -> Floats:
    """A policy that knows the means up to noise; (W, S, K)."""
    return softmax(sharpness * (those.mean + noise * rng.standard_normal(those.mean.shape)))


def worth(those: Worlds, good: Floats, bad: Floats, *, wanted: Floats) -> Floats:
    """The mixture of the two policies whose true value is exactly what is wanted, (W,), in each world."""
    high, low = those.value(good), those.value(bad)
    share = (wanted - low) / (high - low)
    assert ((share >= 0) & (share <= 1)).all(), "no mixture of the two is worth that"
    return share[:, None, None] * good + (1 - share)[:, None, None] * bad


@dataclass(frozen=True, slots=True)
class Round:
    """The same moment of all R streams."""

    world: Ints
    """(R,)"""
    slate: Ints
    """(R,)"""
    event: Event
    mean: Floats
    """(R, K): the true mean rewards of this slate."""

    def of(self, table: Floats) -> Floats:
        """What a policy given as a table (W, S, K) says here; (R, K)."""
        return table[self.world, self.slate]


def rounds(
    those: Worlds,
    rng: np.random.Generator,
    *,
    streams: int,
    n: int,
    logging: Floats | None = None,
    with_model: bool = True,
) -> Iterator[Round]:
    """n rounds of each stream. `logging` is a policy as a table; None for one that learns from its own log, per stream."""
    w, s, k, d = those.x.shape
    world = np.arange(streams) % w
    predictor, learner = model.empty(d, shape=(streams,)), model.empty(d, shape=(streams,))
    for _ in range(n):
        slate = rng.integers(s, size=streams)
        x = those.x[world, slate]
        pmf = softmax(8 * model.predict(learner, x)) if logging is None else logging[world, slate]
        action = drawn(pmf, rng)
        p_done, p_dismissed = at(those.p_done[world, slate], action), at(those.p_dismissed[world, slate], action)
        chance = rng.random(streams)
        reward = np.where(chance < p_done, DONE, np.where(chance < p_done + p_dismissed, DISMISSED, EXPIRED))
        q_hat = model.predict(predictor, x) if with_model else np.zeros((streams, k))
        yield Round(world, slate, Event(pmf, action, reward, q_hat), those.mean[world, slate])
        x_drawn = np.take_along_axis(x, action[:, None, None], axis=1)[:, 0]
        if with_model:
            predictor = model.learn(predictor, x_drawn, reward)
        if logging is None:
            learner = model.learn(learner, x_drawn, reward)


def drawn(pmf: Floats, rng: np.random.Generator) -> Ints:
    """An action by each row's probabilities; (R,)."""
    reached = rng.random((len(pmf), 1)) < pmf.cumsum(axis=-1)
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1), pmf.argmax(axis=-1))

"""Watches whether what was drawn fits the probabilities that were logged. It never looks at a reward.

For any f in [0, 1] that is fixed before the draw, f_A - Σ_a logging_a f_a has mean 0 if the draw was made as logged, and
lies in [-1, 1] however heavy the weights are; what was not taken into a sample says nothing. Two such f are watched, each from both sides: the target's weights, cut, to
see what would harm its estimate most; and the logged probabilities themselves, to see a log that claims more or less
exploration than there was. The four bets' mean is a nonnegative martingale, so the alarm may be watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt

from agents.evaluation import wealth
from agents.evaluation.event import Event, Floats, at, weights
from agents.evaluation.single import WEIGHT_MAX
from agents.evaluation.wealth import Wealth

_ROUNDING = 1e-6
"""Much more than what rounding may add to a logarithm of wealth."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Wealth against "not too much of this" and "not too little", of (weights, logged probabilities): each (..., 2)."""

    many: Wealth
    few: Wealth


def empty(*, shape: tuple[int, ...] = ()) -> Balance:
    """Return what holds before any event.

    >>> bool(is_off(empty(), alpha=0.01))
    False
    """
    return Balance(wealth.empty(shape=(*shape, 2)), wealth.empty(shape=(*shape, 2)))


def add(balance: Balance, event: Event, pmf: Floats) -> Balance:
    """Take one event in; pmf: (..., K), the target's.

    >>> lied = Event(np.array([0.5, 0.5]), np.array(0), np.array(0.0), np.zeros(2))
    >>> some = empty()
    >>> for _ in range(100):
    ...     some = add(some, lied, np.array([0.8, 0.2]))
    >>> bool(is_off(some, alpha=0.01))
    True
    """
    watched = np.minimum(weights(event, pmf), WEIGHT_MAX) / WEIGHT_MAX, event.logging
    off = np.stack([at(f, event.action) - (event.logging * f).sum(axis=-1) for f in watched], axis=-1)
    off *= (np.asarray(event.counts) > 0)[..., None]
    y = np.maximum(np.stack([1 + off, 1 - off]), 0)
    return plus(balance, y, wealth.grown(y))


def plus(balance: Balance, y: Floats, growth: Floats) -> Balance:
    """Take one event in by what is bet on, (2, ..., 2), and by how much it lets each bettor's wealth grow."""
    return Balance(wealth.plus(balance.many, y[0], growth[0]), wealth.plus(balance.few, y[1], growth[1]))


def merged(a: Balance, b: Balance) -> Balance:
    """Return what holds after the events of both, which must not overlap."""
    return Balance(wealth.merged(a.many, b.many), wealth.merged(a.few, b.few))


def is_off(balance: Balance, *, alpha: float) -> npt.NDArray[np.bool_]:
    """True once the logged probabilities are refuted; wrongly so, ever, with probability at most alpha. (...)"""
    many, few = balance.many, balance.few
    if max(wealth.best(many, 1.0), wealth.best(few, 1.0)) < log(1 / alpha) - _ROUNDING:
        return np.zeros(many.total.shape[:-1], dtype=np.bool_)  # The mean cannot be more than the best, anywhere.
    both = np.concatenate([many.growth, few.growth], axis=-2)
    each = wealth.log_wealth(Wealth(many.n, both[..., 0], both), 1.0)
    return np.asarray(np.logaddexp.reduce(each, axis=-1) >= log(each.shape[-1] / alpha))

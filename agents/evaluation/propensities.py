"""Watches whether what was drawn fits the probabilities that were logged. It never looks at a reward.

For any f in [0, c] that is fixed before the draw, f_A - Σ_a logging_a f_a has mean 0 if and only if the draw was made as
logged (as far as f can tell). f = min(w, c), with w the target's weights, sees what would harm that target's estimate,
stays bounded however heavy the weights, and is bet on from both sides: an alarm that may be watched.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np
import numpy.typing as npt

from agents.evaluation import wealth
from agents.evaluation.event import Event, Floats, at, weights
from agents.evaluation.wealth import Wealth

WEIGHT_MAX = 4.0
"""c"""


@dataclass(frozen=True, slots=True)
class Balance:
    """Wealth against "not too many of what the target likes" and against "not too few"."""

    many: Wealth
    few: Wealth


def empty(*, shape: tuple[int, ...] = ()) -> Balance:
    """Of no event.

    >>> bool(is_off(empty(), alpha=0.01))
    False
    """
    return Balance(wealth.empty(shape=shape), wealth.empty(shape=shape))


def add(balance: Balance, event: Event, pmf: Floats) -> Balance:
    """Takes one event in; pmf: (..., K).

    >>> lied = Event(np.array([0.5, 0.5]), np.array(0), np.array(0.0), np.zeros(2))
    >>> some = empty()
    >>> for _ in range(100):
    ...     some = add(some, lied, np.array([0.8, 0.2]))
    >>> bool(is_off(some, alpha=0.01))
    True
    """
    f = np.minimum(weights(event, pmf), WEIGHT_MAX)
    off = (at(f, event.action) - (event.logging * f).sum(axis=-1)) / WEIGHT_MAX
    return Balance(wealth.add(balance.many, np.maximum(1 + off, 0)), wealth.add(balance.few, np.maximum(1 - off, 0)))


def is_off(balance: Balance, *, alpha: float) -> npt.NDArray[np.bool_]:
    """True once the logged probabilities are refuted; wrongly so, ever, with probability at most alpha. (...)"""
    needed = log(2 / alpha)
    many, few = wealth.log_wealth(balance.many, 1.0), wealth.log_wealth(balance.few, 1.0)
    return np.asarray(np.maximum(many, few) >= needed)

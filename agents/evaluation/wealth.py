"""A lower confidence sequence for the running mean of variables that are never negative, by betting.

It holds at every moment at once, so one may look after each event and stop when one likes. It assumes no distribution,
no upper bound and no constant mean; what it never does is look back: its state is one sum per bettor.

Let y_1, y_2, ... be at least 0 with means ν_i given the past. Bettor j holds a fixed stake η_j > 0, and

    M_j(t) = Π_i (1 + η_j y_i) / (1 + η_j ν_i)

is a nonnegative martingale that begins at 1; so is the bettors' mean M. Logarithms are concave, so with the running mean
ν̄_t = Σ ν_i / t

    W_t(ν) = mean_j Π_i (1 + η_j y_i) / (1 + η_j ν)^t      has      W_t(ν̄_t) <= M(t) for every t,

and by Ville's inequality W_t(ν̄_t) reaches 1 / alpha at any time with probability at most alpha. W_t falls in ν, so the
ν at which it equals 1 / alpha is the bound. Large y cost nothing (truncating them from above would only lower the mean,
and the bound with it), which is why heavy importance weights do no harm here.

This is betting as in Waudby-Smith, Ramdas 2024 ("Estimating means of bounded random variables by betting"), with the
fixed stakes of a finite portfolio instead of plugged-in ones: that is what lets the mean move, and the state be a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log

import numpy as np

from agents.evaluation import single
from agents.evaluation.event import Floats

SHARES: Floats = 0.9 * 2.0 ** -np.arange(12.0)
"""What bettor j would lose of its wealth at y = 0 if the mean were 1: from .9, best for few events, to .0004, for millions."""
STAKES: Floats = SHARES / (1 - SHARES)
STEPS = 40
"""Of a bisection: to 1e-12 of the mean."""


@dataclass(frozen=True, slots=True)
class Wealth:
    """What each bettor's stake has grown to, before the means are known."""

    n: int
    total: Floats
    """(...): Σ y"""
    growth: Floats
    """(..., J): Σ log(1 + η_j y)"""


def empty(*, shape: tuple[int, ...] = ()) -> Wealth:
    """Return what holds before any event.

    >>> float(log_wealth(empty(), 0.5))
    0.0
    """
    return Wealth(0, np.zeros(shape), np.zeros((*shape, len(STAKES))))


def add(wealth: Wealth, y: Floats, *, times: int = 1) -> Wealth:
    """Take one y >= 0 in, (...), in units in which its mean is about 1, or so many that are alike. O(J)."""
    return plus(wealth, times * y, times * grown(y), times=times)


def grown(y: Floats) -> Floats:
    """Return what the logarithm of each bettor's wealth grows by; (...) -> (..., J)."""
    return np.asarray(np.log1p(STAKES * np.asarray(y)[..., None]))


def plus(wealth: Wealth, y: Floats, growth: Floats, *, times: int = 1) -> Wealth:
    """Take in what was worked out for several at once: the sum of so many y, and of their growth."""
    return Wealth(wealth.n + times, wealth.total + y, wealth.growth + growth)


def merged(a: Wealth, b: Wealth) -> Wealth:
    """Return what holds after the events of both, which must not overlap: partitions add up.

    >>> merged(empty(), add(empty(), np.array(2.0))).n
    1
    """
    return Wealth(a.n + b.n, a.total + b.total, a.growth + b.growth)


def log_wealth(wealth: Wealth, mean: float | Floats) -> Floats:
    """log W of "the running mean is at most this"; (...). At log(1 / alpha) or more, that is refuted at level alpha.

    >>> rich = empty()
    >>> for _ in range(20):
    ...     rich = add(rich, np.array(1.0))
    >>> bool(log_wealth(rich, 0.5) > log(20)), bool(log_wealth(rich, 1.0) > log(20))
    (True, False)
    """
    each = wealth.growth - wealth.n * np.log1p(STAKES * np.asarray(mean)[..., None])
    most = each.max(axis=-1)
    mixed = np.exp(each - most[..., None]).mean(axis=-1)  # noqa: TID251 - outside `step`, whose bits are fixed
    return np.asarray(most + np.log(mixed))  # noqa: TID251 - the same


def best(wealth: Wealth, mean: float) -> float:
    """Return the logarithm of what the richest bettor of all has made of it: `log_wealth`, which is of their mean, is nowhere more."""
    return single.most(wealth.growth.reshape(-1, len(STAKES)), wealth.n, _lost(mean))


@lru_cache(maxsize=8)
def _lost(mean: float) -> Floats:
    return np.log1p(STAKES * mean)


def lower_bound(wealth: Wealth, *, alpha: float) -> Floats:
    """Below the running mean at every moment with probability 1 - alpha; (...), 0 where nothing can be said yet.

    >>> rich = empty()
    >>> for _ in range(100):
    ...     rich = add(rich, np.array(1.0))
    >>> 0.8 < float(lower_bound(rich, alpha=0.05)) < 1
    True
    """
    low = np.zeros_like(wealth.total)
    high = wealth.total / max(wealth.n, 1)  # by Jensen no bettor has won anything against the mean itself
    refuted = log(1 / alpha)
    for _ in range(STEPS):
        middle = (low + high) / 2
        below = log_wealth(wealth, middle) >= refuted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(log_wealth(wealth, np.zeros_like(low)) >= refuted, low, 0.0)

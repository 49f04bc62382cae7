"""Estimates of a policy's mean reward from another policy's log: IPS, SNIPS and doubly robust, as running sums.

It never promises anything for a moment chosen by looking at it: these intervals hold at a number of events fixed in
advance. For watching, `sequence`. An event of a sample counts as often as it says; with all taken, once, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agents.evaluation.event import Event, Floats, at, weights

Z_95 = 1.959963984540054
"""The normal distribution's .975 quantile."""


@dataclass(frozen=True, slots=True)
class Estimates:
    """Sums over events of w = target / logged probability of the action, reward r and doubly robust score s.

    An event counts a times: all is of a w and a s instead of w and s, and `more` is what a - 1 adds to the sum of a.
    """

    n: int
    sums: Floats
    """(12, ...): a, w, w², w r, w² r, w² r², s, s², a (a - 1), a (a - 1) w, a (a - 1) w r, a (a - 1) s."""

    @property
    def a(self) -> Floats:
        return np.asarray(self.sums[0])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean reward with its asymptotic 95 % interval; each (...)."""

    value: Floats
    low: Floats
    high: Floats


def empty(*, shape: tuple[int, ...] = ()) -> Estimates:
    """Return what holds before any event.

    >>> empty().n
    0
    """
    return Estimates(0, np.zeros((12, *shape)))


def add(estimates: Estimates, event: Event, pmf: Floats) -> Estimates:
    """Take one event in; pmf: (..., K), the target policy's. O(K).

    The score is s = w (r - q_hat[action]) + Σ pmf q_hat (Dudík, Langford, Li 2011), whose mean is the target's value
    whatever q_hat is, as long as it does not know the event's own reward.

    >>> one = Event(np.array([0.5, 0.5]), np.array(0), np.array(1.0), np.array([0.8, 0.2]))
    >>> some = add(empty(), one, np.array([1.0, 0.0]))
    >>> float(ips(some).value), float(snips(some).value), round(float(dr(some).value), 3)
    (2.0, 1.0, 1.2)
    """
    return plus(estimates, terms(event, pmf))


def terms(event: Event, pmf: Floats) -> Floats:
    """Return what the event adds to the sums, for whoever adds it to several: (12, ...)."""
    meant = (pmf * event.q_hat).sum(axis=-1)
    w, q, r, a = at(weights(event, pmf), event.action), at(event.q_hat, event.action), event.reward, event.counts
    s = a * (w * (r - q) + meant)
    w, more = a * w, a - 1
    new = (a, w, w * w, w * r, w * w * r, w * w * r * r, s, s * s, a * more, more * w, more * w * r, more * s)
    return np.stack(np.broadcast_arrays(*new))


def plus(estimates: Estimates, new: Floats) -> Estimates:
    """Take in an event by its terms."""
    return Estimates(estimates.n + 1, estimates.sums + new)


def merged(a: Estimates, b: Estimates) -> Estimates:
    """Return what holds after the events of both.

    >>> merged(empty(), empty()).n
    0
    """
    return Estimates(a.n + b.n, a.sums + b.sums)


def ips(estimates: Estimates) -> Estimate:
    """Inverse propensity scoring: the mean of w r (Horvitz, Thompson 1952). Unbiased, wide."""
    return _mean(estimates, total=3, squares=5, more=10)


def snips(estimates: Estimates) -> Estimate:
    """Self-normalized: Σ w r / Σ w (Swaminathan, Joachims 2015), its interval by the delta method. Slightly biased."""
    _, w, w2, wr, w2r, w2r2 = estimates.sums[:6]
    total = np.where(w > 0, w, 1.0)
    value = wr / total
    squares = w2r2 - 2 * value * w2r + value * value * w2
    return _around(value, np.sqrt(np.maximum(squares, 0.0)) / total, known=w > 0)


def dr(estimates: Estimates) -> Estimate:
    """Doubly robust with q_hat as it was at each event: the mean of s. The one to report."""
    return _mean(estimates, total=6, squares=7, more=11)


def effective_n(estimates: Estimates) -> Floats:
    """(Σ w)² / Σ w² (Kish 1965): of how many events drawn by the target itself the weights are worth."""
    _, w, w2 = estimates.sums[:3]
    return np.asarray(w * w / np.where(w2 > 0, w2, 1.0))


def mean_weight(estimates: Estimates) -> Floats:
    """1 in the mean if the logged propensities are what was drawn from; off 1, they are not."""
    return np.asarray(estimates.sums[1] / _count(estimates))


def weight_z(estimates: Estimates) -> Floats:
    """Return how many standard errors the mean weight is off 1. For one look; `propensities` is for watching.

    >>> one = Event(np.array([0.5, 0.5]), np.array(0), np.array(1.0), np.zeros(2))
    >>> some = empty()
    >>> for pmf in ([0.6, 0.4], [0.4, 0.6]):
    ...     some = add(some, one, np.array(pmf))
    >>> round(float(mean_weight(some)), 6), round(float(weight_z(some)), 6)
    (1.0, 0.0)
    """
    count = _count(estimates)
    _, w, w2 = estimates.sums[:3]
    mean = w / count
    more = mean * (mean * estimates.sums[8] - 2 * estimates.sums[9]) / count
    variance = np.maximum(w2 / count - mean * mean + more, 0.0)
    off = np.asarray(mean - 1.0)
    return np.asarray(np.divide(off, np.sqrt(variance / count), out=np.zeros_like(off), where=variance > 0))


def _count(estimates: Estimates) -> Floats:
    return np.where(estimates.a > 0, estimates.a, 1.0)


def _mean(estimates: Estimates, *, total: int, squares: int, more: int) -> Estimate:
    """Σ a y / Σ a (Hájek 1971), its variance that of Σ a (y - mean) / Σ a: of what was drawn and of drawing it, no less."""
    n, count, sums = estimates.n, _count(estimates), estimates.sums
    value = sums[total] / count
    spread = sums[squares] - count * value * value + value * (value * sums[8] - 2 * sums[more])
    variance = np.maximum(spread, 0.0) / max(n - 1, 1) * (n / count)
    return _around(value, np.sqrt(variance / count), known=n > 1)


def _around(value: Floats, standard_error: Floats, *, known: bool | npt.NDArray[np.bool_]) -> Estimate:
    half = np.where(known, Z_95 * standard_error, np.inf)
    return Estimate(np.asarray(value), np.asarray(value - half), np.asarray(value + half))

"""A policy's mean reward with an interval that counts what heavy weights would have brought, also while none of them was drawn.

A log that draws a candidate once in a thousand decisions shows, among two hundred, what that candidate is worth or, mostly, nothing of it; the
variance of what was drawn then says that all is well. But the whole slate's probabilities are logged. So of each event two things are known
whatever was drawn: Σ pmf² / logging, which times the mean squared error v of the reward model on what was drawn is the variance that the
doubly robust score has in truth; and how likely the target is to draw what the log hardly ever does.

Where a weight is past a cut, the model's word stands alone (SWITCH, Wang, Agarwal, Dudík 2017, "Optimal and adaptive off-policy evaluation in
contextual bandits"), and what it may be wrong by is counted: by Cauchy and Schwarz at most the target's probability of it times the root of v.
Of a few cuts the one counts whose interval is the narrowest: that goes by whole slates and by v, hardly by which candidates were drawn. An interval of an unknown bias within bounds beside normal noise takes less than 1.96 deviations: Imbens, Manski 2004, "Confidence intervals for
partially identified parameters".

Assumed: right propensities, and that the model errs on what the target would draw, in the mean square, about as much as on what was drawn; where the weighted errors
that were seen are more than twice what follows from that, they count instead. It holds at a number of events fixed in advance and never for a
moment chosen by looking at it: for watching, `sequence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from agents.evaluation.estimates import Z_95, Estimate
from agents.evaluation.event import Event, Floats, Range, at, weights

CUTS: Floats = np.array([5.0, 50.0, np.inf])
"""Of weights."""
TELLS = 0.5
"""An interval of more than this share of the range of rewards says less than that there is one."""
REFUTED = 2.0
"""How many times the expected variance the one that was seen must be to count in its place."""
_SHARED, _EACH = 7, 3
_NORMAL = NormalDist()
_DEVIATIONS: Floats = np.linspace(Z_95, _NORMAL.inv_cdf(0.95) + 1e-9, 64)
_APART: Floats = np.array([_NORMAL.inv_cdf(0.95 + _NORMAL.cdf(-c)) - c for c in _DEVIATIONS])
"""How far apart the ends of the bias are, in deviations, where that many of them hold 95 %."""


@dataclass(frozen=True, slots=True)
class Switched:
    """Sums over events, each taken a times, of weight w, target's mean prediction m, error e = r - q and, for each cut, score s."""

    n: int
    sums: Floats
    """(7 + 3 C, ...): a, a², a m, a² m, a² m², a e², a² w² e²; then, C of each, a s, a² Σ pmf² / logging of what is within the cut, and a Σ pmf
    of what is not."""


def empty(*, shape: tuple[int, ...] = ()) -> Switched:
    """Return what holds before any event.

    >>> empty().n
    0
    """
    return Switched(0, np.zeros((_SHARED + _EACH * len(CUTS), *shape)))


def add(switched: Switched, event: Event, pmf: Floats) -> Switched:
    """Take one event in; pmf: (..., K), the target policy's. O(K C).

    >>> one = Event(np.array([0.5, 0.5]), np.array(0), np.array(1.0), np.array([0.5, 0.5]))
    >>> some = empty()
    >>> for _ in range(200):
    ...     some = add(some, one, np.array([0.5, 0.5]))
    >>> found = estimate(some, rewards=Range(0, 1))
    >>> float(found.value), round(float(found.low), 3), float(found.high)
    (1.0, 0.995, 1.0)
    """
    return plus(switched, terms(event, pmf))


def terms(event: Event, pmf: Floats) -> Floats:
    """Return what the event adds to the sums: (7 + 3 C, ...)."""
    w = weights(event, pmf)
    cuts = CUTS.reshape(-1, *([1] * w.ndim))
    within = (w <= cuts) & (event.logging > 0)  # What could not be drawn is left to the model whatever the cut.
    reach, left = np.where(within, w * pmf, 0.0).sum(axis=-1), np.where(within, 0.0, pmf).sum(axis=-1)
    meant, error = (pmf * event.q_hat).sum(axis=-1), event.reward - at(event.q_hat, event.action)
    drawn, a = at(w, event.action), event.counts
    noise = drawn * error
    shared = (a, a * a, a * meant, a * a * meant, a * a * meant * meant, a * error * error, a * a * noise * noise)
    each = np.concatenate([a * (meant + np.where(drawn <= cuts[..., 0], noise, 0.0)), a * a * reach, a * left])
    return np.concatenate([np.stack(np.broadcast_arrays(*shared, each[0])[:-1]), each])


def plus(switched: Switched, new: Floats) -> Switched:
    """Take in an event by its terms."""
    return Switched(switched.n + 1, switched.sums + new)


def estimate(switched: Switched, *, rewards: Range) -> Estimate:
    """Return the mean reward with its 95 % interval, within what rewards can be; without bounds where there is too little to tell.

    >>> float(estimate(empty(), rewards=Range(0, 1)).high)
    inf
    """
    n, (a, a2, am, a2m, a2m2, ae2, seen) = switched.n, switched.sums[:_SHARED]
    count = np.where(a > 0, a, 1.0)
    value, reach, left = switched.sums[_SHARED:].reshape(_EACH, len(CUTS), *a.shape) / count
    # As if one event more had gone as badly as can be.
    v = (n * ae2 / count + (rewards.width / 2) ** 2) / (n + 1)
    expected = v * reach[-1] * count
    v = np.where(seen > REFUTED * expected, v * np.divide(seen, expected, out=np.ones_like(v), where=expected > 0), v)
    meant = am / count
    between = a2m2 - meant * (2 * a2m - meant * a2)
    noise = v * reach - (value - meant) ** 2 * (n / (n + 1)) * a2 / count
    deviation = np.sqrt(np.maximum(noise + between / count, 0.0) / count)
    bias = left * np.sqrt(v)
    apart = np.divide(2 * bias, deviation, out=np.zeros_like(bias), where=deviation > 0)
    half = bias + np.interp(apart, _APART, _DEVIATIONS) * deviation
    narrowest = half.argmin(axis=0)[None]
    half, value = (np.take_along_axis(one, narrowest, axis=0)[0] for one in (half, value))
    tells = (n > 1) & (2 * half <= TELLS * rewards.width)
    low, high = np.maximum(value - half, rewards.low), np.minimum(value + half, rewards.high)
    within = np.asarray(np.clip(value, rewards.low, rewards.high))
    return Estimate(within, np.where(tells, low, -np.inf), np.where(tells, high, np.inf))

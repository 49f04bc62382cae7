"""Anytime-valid bounds on a policy's mean reward, or on how much one policy earns more than another on the same events.

They hold at every event at once, for the running mean of the true values: policies may learn and tastes may drift. They
assume rewards within the stated range and logged propensities that are right, nothing else: no floor, no greatest
weight, no fixed number of events. What a floor under the propensities buys is narrowness.

Of a sample, in which an event is with a probability fixed before it, 1 / counts >= share: counts s, and 0 for one that was not
taken, has the mean of s and stays above -floor / share, which takes the floor's place. So a sample widens the range by 1 / share.

With δ = pmf (one policy) or pmf - minus (two), u = δ / logging and rewards moved to begin at 0, the doubly robust score

    s = u_A (r - q_A) + Σ_a δ_a q_a

has the mean Σ_a δ_a E[r | a] for any q that does not know r. A lower bound needs scores that are bounded below; so for it
q is clipped, each candidate for itself and before the draw is looked at, so that u_a (r - q_a) >= -k whatever r turns out
to be: q_a <= k / u_a where u_a > 0, q_a >= width - k / |u_a| where u_a < 0. Then s >= -floor, and s + floor is what
`wealth` bets on. The upper bound is the lower bound of -δ with a clip of its own. Heavy weights lose their model, not
their validity: this is the pseudo-outcome of Waudby-Smith, Wu, Ramdas, Karampatziakis, Mineiro 2022 (arXiv 2210.10768,
section 2), here for signed weights too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from agents.evaluation import wealth
from agents.evaluation.event import Event, Floats, Range, at, weights
from agents.evaluation.wealth import Wealth

REACH = 3.0
"""How far, in widths of the reward range, the residual's term may go down: far keeps more of the model, near lets
bettors stake more. docs/adr/0019 has what was measured."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A bettor's wealth on either side."""

    of: Literal["mean", "difference"]
    rewards: Range
    reach: float
    below: Wealth
    above: Wealth
    share: float = 1.0
    """The least probability with which an event is taken into the sample: scores are taken `counts` times, and may go down as far."""


def empty(
    of: Literal["mean", "difference"],
    *,
    rewards: Range,
    reach: float = REACH,
    shape: tuple[int, ...] = (),
    share: float = 1.0,
) -> Sequence:
    """Return what holds before any event.

    >>> low, high = interval(empty("difference", rewards=Range(0, 1)), alpha=0.05)
    >>> float(low), float(high)
    (-1.0, 1.0)
    """
    return Sequence(of, rewards, reach, wealth.empty(shape=shape), wealth.empty(shape=shape), share)


def add(sequence: Sequence, event: Event, pmf: Floats, *, minus: Floats | None = None) -> Sequence:
    """Take one event in; pmf and minus: (..., K), minus for a difference only. O(K + J).

    >>> one = Event(np.array([0.5, 0.5]), np.array(0), np.array(1.0), np.zeros(2))
    >>> some = empty("mean", rewards=Range(0, 1))
    >>> for _ in range(200):
    ...     some = add(some, one, np.array([0.5, 0.5]))
    >>> low, high = interval(some, alpha=0.05)
    >>> 0.8 < float(low) < 1.0 == float(high)
    True
    """
    assert (minus is None) == (sequence.of == "mean"), "a difference is of two policies, a mean of one"
    delta = pmf if minus is None else pmf - minus
    floors = both_floors(sequence)
    # Both sides in one go: the upper bound is the lower one of -delta.
    both = score_above_floor(sequence, event, np.stack([delta, -delta]), floor=_sides(floors, delta.ndim - 1))
    y = both / _sides(tuple(unit(floor, sequence) for floor in floors), delta.ndim - 1)
    return plus(sequence, y, wealth.grown(y))


def plus(sequence: Sequence, y: Floats, growth: Floats) -> Sequence:
    """Take one event in by what is bet on, below and above, (2, ...), and by how much it lets each bettor's wealth grow."""
    below, above = wealth.plus(sequence.below, y[0], growth[0]), wealth.plus(sequence.above, y[1], growth[1])
    return Sequence(sequence.of, sequence.rewards, sequence.reach, below, above, sequence.share)


def passed(sequence: Sequence, times: int) -> Sequence:
    """Take in so many events that were not taken into the sample: each has a score of 0.

    >>> some = passed(empty("difference", rewards=Range(0, 1), share=0.1), 9)
    >>> some.below.n, float(lower(some, alpha=0.05))
    (9, -1.0)
    """
    below, above = (floor / sequence.share / unit(floor, sequence) for floor in both_floors(sequence))
    return replace(
        sequence,
        below=wealth.add(sequence.below, np.full_like(sequence.below.total, below), times=times),
        above=wealth.add(sequence.above, np.full_like(sequence.above.total, above), times=times),
    )


def score_above_floor(sequence: Sequence, event: Event, delta: Floats, *, floor: float | Floats) -> Floats:
    """counts s + floor / share >= 0 with q clipped so that this holds whatever the reward; (...).

    >>> one = Event(np.array([0.01, 0.99]), np.array(0), np.array(0.0), np.array([1.0, 1.0]))
    >>> some = empty("mean", rewards=Range(0, 1), reach=2.0)
    >>> score_above_floor(some, one, np.array([1.0, 0.0]), floor=2.0).tolist()  # unclipped: 2 - 100 + 1
    0.020000000000000018
    """
    width = sequence.rewards.width
    q = np.clip(event.q_hat - sequence.rewards.low, 0.0, width)
    u = weights(event, delta)
    # Σ δ q cannot fall below -width Σ δ⁻; what is left of the floor is the residual's.
    k = np.asarray(floor)[..., None] + width * np.minimum(delta, 0.0).sum(axis=-1, keepdims=True)
    far = np.divide(np.maximum(k, 0.0), abs(u), out=np.full(u.shape, np.inf), where=u != 0)
    q = np.where(u > 0, np.minimum(q, far), np.maximum(q, np.where(u < 0, width - far, 0.0)))
    s = at(u, event.action) * (event.reward - sequence.rewards.low - at(q, event.action)) + (delta * q).sum(axis=-1)
    return np.asarray(
        np.maximum(event.counts * s + floor / sequence.share, 0.0)
    )  # the maximum takes off rounding, nothing else


def interval(sequence: Sequence, *, alpha: float) -> tuple[Floats, Floats]:
    """Around the running mean of the true values, at every event at once with probability 1 - alpha; each (...)."""
    return lower(sequence, alpha=alpha / 2), upper(sequence, alpha=alpha / 2)


def lower(sequence: Sequence, *, alpha: float) -> Floats:
    """Return the one-sided lower bound; (...). All of alpha is on this side."""
    floor = _floor_below(sequence)
    found = wealth.lower_bound(sequence.below, alpha=alpha) * unit(floor, sequence) - floor / sequence.share
    found = found + _origin(sequence)
    return np.maximum(found, _least(sequence))


def upper(sequence: Sequence, *, alpha: float) -> Floats:
    """Return the one-sided upper bound; (...)."""
    floor, rewards = _floor_above(sequence), sequence.rewards
    found = floor / sequence.share - wealth.lower_bound(sequence.above, alpha=alpha) * unit(floor, sequence)
    found = found + _origin(sequence)
    return np.minimum(found, rewards.high if sequence.of == "mean" else rewards.width)


def log_wealth_above(sequence: Sequence, value: float) -> Floats:
    """Return the evidence that the running mean is more than `value`; (...). At log(1 / alpha) `lower` passes it: O(J).

    >>> float(log_wealth_above(empty("difference", rewards=Range(0, 1)), 0.0))
    0.0
    """
    return wealth.log_wealth(sequence.below, _bet_on(sequence, value))


def best_above(sequence: Sequence, value: float) -> float:
    """Return what `log_wealth_above` is nowhere more than, for a small part of the work."""
    return wealth.best(sequence.below, _bet_on(sequence, value))


def merged(a: Sequence, b: Sequence) -> Sequence:
    """Return what holds after the events of both, which must not overlap."""
    ours, theirs = (a.of, a.rewards, a.reach, a.share), (b.of, b.rewards, b.reach, b.share)
    assert ours == theirs, "sequences of different things do not add up"
    return replace(a, below=wealth.merged(a.below, b.below), above=wealth.merged(a.above, b.above))


def _sides(values: tuple[float, ...], axes: int) -> Floats:
    """Return one for each side, (2, 1, ...), to stand beside scores of so many more axes."""
    return np.array(values).reshape(-1, *([1] * axes))


def both_floors(sequence: Sequence) -> tuple[float, float]:
    """Below and above."""
    return _floor_below(sequence), _floor_above(sequence)


def _floor_below(sequence: Sequence) -> float:
    """Σ δ⁻ is at most 0 for a mean, 1 for a difference."""
    return sequence.rewards.width * (sequence.reach + (0.0 if sequence.of == "mean" else 1.0))


def _floor_above(sequence: Sequence) -> float:
    return sequence.rewards.width * (sequence.reach + 1.0)


def unit(floor: float, sequence: Sequence) -> float:
    """Return what `wealth` counts in: about the mean of s + floor / share."""
    return max(floor / sequence.share, sequence.rewards.width)


def _bet_on(sequence: Sequence, value: float) -> float:
    floor = _floor_below(sequence)
    return max(value - _origin(sequence) + floor / sequence.share, 0.0) / unit(floor, sequence)


def _origin(sequence: Sequence) -> float:
    """Scores are of rewards that begin at 0; a difference is too."""
    return sequence.rewards.low if sequence.of == "mean" else 0.0


def _least(sequence: Sequence) -> float:
    return sequence.rewards.low if sequence.of == "mean" else -sequence.rewards.width

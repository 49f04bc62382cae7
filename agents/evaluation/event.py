"""One logged decision with what came of it, as estimators read it. It never says what the reward means.

Every array may have leading axes, written `...`: none for one stream; (streams,) for many that are fed in step, which
is how simulations run thousands at once through the code that the product runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Range:
    """Within which every reward lies, ends included."""

    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class Event:
    """A slate of K candidates, what was drawn from it, and what that earned."""

    logging: Floats
    """(..., K): the probability with which each could have been drawn; 0 for an ineligible one."""
    action: Ints
    """(...): the index of the one drawn."""
    reward: Floats
    """(...)"""
    q_hat: Floats
    """(..., K): rewards predicted from earlier events only. Zeros are a model too."""
    counts: Floats | float = 1.0
    """(...): how many decisions it stands for: 1 over the probability with which it was taken into the sample, 0 for one that was
    not. That probability must not depend on the draw, nor on the reward."""


def at(values: Floats, action: Ints) -> Floats:
    """Return the entry of the action in each row; (..., K) -> (...).

    >>> float(at(np.array([0.2, 0.8]), np.array(1)))
    0.8
    """
    if np.ndim(action) == 0:
        return np.asarray(values[..., action])
    wanted = np.broadcast_to(action, values.shape[:-1])[..., None]
    picked: Floats = np.take_along_axis(values, wanted, axis=-1)[..., 0]
    return picked


def weights(event: Event, pmf: Floats) -> Floats:
    """pmf / logging for every candidate, 0 where neither could draw it; (..., K).

    >>> one = Event(np.array([0.5, 0.5, 0.0]), np.array(0), np.array(1.0), np.zeros(3))
    >>> weights(one, np.array([0.9, 0.1, 0.0])).tolist()
    [1.8, 0.2, 0.0]
    """
    possible = event.logging > 0
    return np.divide(pmf, event.logging, out=np.zeros(np.broadcast_shapes(pmf.shape, possible.shape)), where=possible)


def check(event: Event, pmf: Floats, *, rewards: Range) -> None:
    """Raise ValueError for an event that no estimator can use.

    >>> one = Event(np.array([1.0, 0.0]), np.array(0), np.array(1.0), np.zeros(2))
    >>> check(one, np.array([0.9, 0.1]), rewards=Range(0, 1))
    Traceback (most recent call last):
    ValueError: the target draws what the logging policy could not: log with a floor under every propensity
    """
    if not all(np.isfinite(one).all() for one in (event.logging, event.reward, event.q_hat, pmf)):
        raise ValueError("a number of the event is not finite")
    for name, one in (("logged probabilities", event.logging), ("target's probabilities", pmf)):
        if (one < 0).any() or (abs(one.sum(axis=-1) - 1) > SUM_TOLERANCE).any():
            raise ValueError(f"the {name} are negative or do not add up to 1: log the whole slate")
    if (at(event.logging, event.action) <= 0).any():
        raise ValueError("an action was logged with probability 0")
    if ((event.logging <= 0) & (pmf > 0)).any():
        raise ValueError("the target draws what the logging policy could not: log with a floor under every propensity")
    if (event.reward < rewards.low).any() or (event.reward > rewards.high).any():
        raise ValueError(f"a reward lies outside [{rewards.low:g}, {rewards.high:g}]: give the range as configured")

"""What everybody's rewards have been of late beyond what is believed of them: the turn, by which a belief is moved until its sums have caught up.

A ridge regression on what the policy, as it believes now, misses in the last rewards, the latest most; and how far that is listened to: a
logistic of the squared loss that it would have saved of late, each taken before it was learned. What the policy itself has learned since is missed no more.
It runs outside `step`: what it says travels in a version. Littlestone & Warmuth 1994, "The weighted majority algorithm", for the weight.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import exp

import numpy as np

from tables.linear import Floats, Ints
from tables.sums import UNIT

HALF_LIFE = 200
"""Rewards."""
KEPT = 4 * HALF_LIFE
RIDGE = 32.0
"""The noise of a reward over the variance expected of an entry of the turn."""
RATE = 3.0
"""How much a unit of loss saved has the turn listened to, in the exponent of a logistic."""
DOUBT = 4.0
"""What it has to make up for before."""
MEMORY = 0.995
"""Of the loss saved, at every reward."""
REFIT_EVERY = 8
NEWS = 0.02
"""An entry that has changed by less is not worth a version."""
_WEIGHTS = 0.5 ** (np.arange(KEPT)[::-1] / HALF_LIFE)


@dataclass(slots=True)
class Lately:
    """The last rewards, by person, so that any of them can be taken out again."""

    d: int
    saved: float = 0.0
    _kept: deque[tuple[str, bytes, float]] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Who, the features of what was shown as int8, and the reward less the person's own part."""
    _taken: int = 0
    _slope: Floats = field(init=False)

    def __post_init__(self) -> None:
        self._slope = np.zeros(self.d)

    @property
    def weight(self) -> float:
        """How far it is listened to."""
        return 1.0 / (1.0 + exp(min(DOUBT - RATE * self.saved, 30.0)))

    @property
    def turn(self) -> Floats:
        """By how much what everybody's part says of each feature is to be moved: (d,)."""
        return self.weight * self._slope

    def add(self, user_id: str, x: Ints, reward: float, *, believed: Floats) -> None:
        """Take in the features of what was shown, (d,) in units of 1/64, and its reward less the person's own part; `believed`: what the
        policy believes of each feature now, without any turn.

        >>> one = Lately(1)
        >>> for n in range(400):
        ...     one.add("ann", np.array([64]), 0.3 if n % 2 else 0.5, believed=np.zeros(1))
        >>> round(float(one.turn[0]), 1)
        0.3
        """
        missed = reward - float(believed @ x) / UNIT
        rest = missed - float(self._slope @ x) / UNIT
        self.saved = MEMORY * self.saved + missed * missed - rest * rest
        self._kept.append((user_id, x.astype(np.int8).tobytes(), reward))
        self._taken += 1
        if self._taken % REFIT_EVERY == 0:
            self._fit(believed)

    def forget(self, user_id: str) -> None:
        """Take out all that came of this person; there is no turn until the next fit."""
        left = [one for one in self._kept if one[0] != user_id]
        if len(left) < len(self._kept):
            self._kept, self._slope = deque(left, maxlen=KEPT), np.zeros(self.d)

    def _fit(self, believed: Floats) -> None:
        x = np.frombuffer(b"".join(one[1] for one in self._kept), dtype=np.int8).reshape(-1, self.d) / UNIT
        weighed = x * _WEIGHTS[-len(x) :, None]
        missed = np.array([one[2] for one in self._kept]) - x @ believed
        self._slope = np.asarray(
            np.linalg.solve(weighed.T @ x + RIDGE * np.eye(self.d), weighed.T @ missed),  # noqa: TID251
            dtype=np.float64,
        )


def has_turned(before: Floats, now: Floats) -> bool:
    """Whether a turn differs so much from the one before that a version is worth making.

    >>> has_turned(np.zeros(0), np.zeros(2)), has_turned(np.zeros(0), np.array([0.0, 0.1]))
    (False, True)
    """
    size = max(len(before), len(now))
    apart = np.pad(now, (0, size - len(now))) - np.pad(before, (0, size - len(before)))
    return bool(np.abs(apart).max(initial=0.0) > NEWS)


def read(content: bytes) -> Floats:
    """Return the turn that an estimate says; none for what is no numbers.

    >>> read(np.array([0.5]).tobytes()).tolist(), read(b"?").tolist(), read(np.array([np.nan]).tobytes()).tolist()
    ([0.5], [], [])
    """
    if len(content) % 8:
        return np.zeros(0)
    turn = np.frombuffer(content, dtype="<f8").astype(np.float64)
    return turn if np.isfinite(turn).all() else np.zeros(0)

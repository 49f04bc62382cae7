"""Whether scores agree with what people did: how often a tip that was done is scored above one that was not (AUC), with bounds.

0.5 is chance, 1 says that every tip that was done is scored higher; ties count half. Bounds are Newcombe's (2006, Statistics in Medicine 25:559,
method 5), which hold near 0 and 1 and for few tips; unlike those of `rates` they hold for one look alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

TOO_FEW: Final = 10
"""Done, or not done: below it there is nothing to tell."""
_Z: Final = 1.96
_GRID: Final = np.linspace(0.0, 1.0, 1001)


class Agreement(NamedTuple):
    """Of scores with what people did."""

    done: int
    other: int
    share: float
    """Of pairs of one that was done and one that was not, in which the first has the greater score."""
    low: float
    high: float

    @property
    def tells(self) -> bool:
        """Whether there are enough."""
        return min(self.done, self.other) >= TOO_FEW


def agreement(scored: Sequence[tuple[float, bool]]) -> Agreement:
    """Return how scores agree with whether it was done; 0 to 1 where one kind is missing.

    >>> agreement([(n, n > 20) for n in range(40)]).share, agreement([(3, n > 20) for n in range(40)]).share
    (1.0, 0.5)
    >>> agreement([(3, True)])
    Agreement(done=1, other=0, share=0.5, low=0.0, high=1.0)
    """
    ups = np.array([score for score, done in scored if done], float)
    downs = np.array([score for score, done in scored if not done], float)
    if not (len(ups) and len(downs)):
        return Agreement(len(ups), len(downs), 0.5, 0.0, 1.0)
    above = np.sign(ups[:, None] - downs[None, :])
    share = float((above + 1).mean() / 2)
    half = (len(ups) + len(downs)) / 2 - 1
    spread = _GRID * (1 - _GRID) * (1 + half * (1 - _GRID) / (2 - _GRID) + half * _GRID / (1 + _GRID))
    held = _GRID[(share - _GRID) ** 2 <= _Z**2 * spread / (len(ups) * len(downs)) + 1e-12]
    return Agreement(len(ups), len(downs), share, min(float(held.min()), share), max(float(held.max()), share))

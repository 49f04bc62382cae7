"""How often what a version of a prompt wrote is done, with bounds that may be watched.

A tip is seen with the probability that its version was drawn for the request times the probability that the decision drew the tip, and
counts 1 over that: so a version is not flattered by the slates in which the policy likes it best. Weights end at `WEIGHT_MAX`: a tip that is
rarer than 1 in that counts as if it were not, or one rare tip would be all that is known. What is told is therefore the share done of a
version's tips, each alike once it is at least so likely, and in proportion to how likely it is below that.

For a share m the sums of w (done - m) have the mean 0 exactly where m is the running mean so weighted. Below they are bounded by -w m and
-w (1 - m), so `wealth` bets on w (done - m) + W m, in units of W m, and on its mirror image, for each m of a grid: an m at which the bet
has won 1 / alpha is refuted. A decision in which no tip of the version was seen scores 0, which changes no bet, and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import numpy as np

from agents.evaluation import wealth
from agents.evaluation.event import Floats
from agents.evaluation.wealth import Wealth

WEIGHT_MAX = 8.0
GRID: Floats = np.linspace(0.0, 1.0, 402)[1:-1]
"""Of shares that are tried: 1/401 apart, without its ends, at which a bet has no unit."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Of one version."""

    n: int
    done: int
    weight: float
    weight_squared: float
    weight_done: float
    below: Wealth
    """Of bets that more is done than m."""
    above: Wealth
    """That less is."""

    @property
    def share(self) -> float:
        """Done, weighted; 0 before anything was seen."""
        return self.weight_done / self.weight if self.weight else 0.0

    @property
    def effective_n(self) -> float:
        """Of how many tips that weigh alike it is worth."""
        return self.weight**2 / self.weight_squared if self.weight_squared else 0.0


def empty() -> Rate:
    """Return what is known of a version before its first tip.

    >>> interval(empty(), alpha=0.05)
    (0.0, 1.0)
    """
    none = wealth.empty(shape=GRID.shape)
    return Rate(0, 0, 0.0, 0.0, 0.0, none, none)


def add(rate: Rate, *, done: bool, chance: float) -> Rate:
    """Take in a tip that was seen. `chance`: of its version times of the tip, above 0; in the order of the decisions.

    >>> some = empty()
    >>> for _ in range(60):
    ...     some = add(some, done=True, chance=0.5)
    >>> low, high = interval(some, alpha=0.05)
    >>> 0.5 < low < 1.0 == high
    True
    """
    assert 0 < chance <= 1, "what was drawn had a chance"
    weight = min(1 / chance, WEIGHT_MAX)
    up, down = weight * (done - GRID), weight * ((not done) - (1 - GRID))
    return Rate(
        rate.n + 1,
        rate.done + done,
        rate.weight + weight,
        rate.weight_squared + weight**2,
        rate.weight_done + weight * done,
        wealth.add(rate.below, 1 + up / (WEIGHT_MAX * GRID)),
        wealth.add(rate.above, 1 + down / (WEIGHT_MAX * (1 - GRID))),
    )


def interval(rate: Rate, *, alpha: float) -> tuple[float, float]:
    """Around the share done, at every moment at once with probability 1 - alpha; 0 to 1 where nothing can be said yet."""
    won = log(2 / alpha)
    low = GRID[wealth.log_wealth(rate.below, 1.0) >= won]
    high = GRID[wealth.log_wealth(rate.above, 1.0) >= won]
    return (float(low.max()) if low.size else 0.0), (float(high.min()) if high.size else 1.0)

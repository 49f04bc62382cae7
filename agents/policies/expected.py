"""What a belief expects of a slate: the part of a decision that all linear policies share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.policies import kernel
from agents.policies.belief import Belief
from agents.policies.choice import Choice, drawn, floored
from tables.linear import Floats, Ints
from tables.sums import KNOWN_FROM, PREDICTED_UNIT, UNIT, Taught, scale_at, weight


@dataclass(frozen=True, slots=True)
class Expected:
    """The joint posterior of a slate's scores."""

    scores: Floats
    """Less what an interruption costs; 0 for saying nothing: (K,)."""
    spread: Floats
    """Factor of their covariance: (K, d + q)."""
    shared: Floats
    own: Floats
    known: int

    def choice(self, shares: Sequence[int], *, floor_permille: int, word: int, draws_won: Sequence[int] = ()) -> Choice:
        """Draws by these shares with a floor under them, and keeps what was expected beside."""
        numerators, denominator = floored(shares, floor_permille=floor_permille)
        return Choice(
            chosen=drawn(numerators, denominator, word=word),
            numerators=numerators,
            denominator=denominator,
            draws_won=draws_won,
            scores=(np.rint(self.scores * kernel.GRID) / kernel.GRID).tolist(),
            shared=self.shared.tolist(),
            own=(self.shared + self.own).tolist(),
            known=self.known,
        )


def expected(
    belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, gate: float | None = None
) -> Expected:
    """What is expected of each candidate now; `gate` is the version's own where none is given.

    x: (K, d) in units of 1/64, C-contiguous; silent: the row that says nothing, None for a slate without one.
    """
    d = len(belief.mean)
    assert x.shape[1] == d == len(taught.moment), "the kernel checks no bounds"
    landmark, w = weight(now_ms, half_life_ms=belief.half_life_ms)
    known = bisect_right(KNOWN_FROM, taught.n // (w << min(max(landmark - taught.landmark, 0), 62)))
    opened = belief.gate[known] if gate is None else gate
    shared, own, spread = kernel.expect(
        x,
        taught.gram,
        taught.moment,
        scale_at(taught, now_ms=now_ms, half_life_ms=belief.half_life_ms),
        belief.mean,
        belief.factor,
        belief.epoch.precision,
        belief.epoch.noise,
        opened,
    )
    scores = shared + opened * own - belief.config.interruption_cost / UNIT
    if silent is not None:
        scores[silent] = 0.0
    return Expected(scores, spread, shared, own, known)


def on_grid(value: float) -> int:
    """A predicted reward in units of 1/1024.

    >>> on_grid(0.5), on_grid(-1.0)
    (512, -1024)
    """
    return round(value * PREDICTED_UNIT)

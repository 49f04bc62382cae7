"""What a belief expects of a slate: the part of a decision that all linear policies share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agents.bandit import kernel
from agents.bandit.belief import Belief
from agents.bandit.choice import KEY_HALF, Choice, Way, drawn, floored
from tables.linear import Floats, Ints
from tables.sums import KNOWN_FROM, PREDICTED_UNIT, SCALE, UNIT, Predicted, Taught, unit_at


@dataclass(frozen=True, slots=True)
class Expected:
    """The joint posterior of a slate's scores."""

    scored: Floats
    """In rows, as agents.bandit.kernel.expect gives them: (3, K)."""
    covariance: Floats
    """Of the scores; its upper triangle, (K, K) or wider; what stands elsewhere means nothing."""
    known: int

    @property
    def scores(self) -> Floats:
        """Less what an interruption costs, on the grid; 0 for saying nothing: (K,)."""
        row: Floats = self.scored[0]
        return row

    def choice(self, shares: Sequence[int], *, floor_permille: int, word: int, draws_won: Sequence[int] = ()) -> Choice:
        """Draw by these shares with a floor under them, and keep what was expected beside."""
        numerators, denominator = floored(shares, floor_permille=floor_permille)
        said = np.array([draws_won or [0] * len(shares), numerators], dtype=np.int64)
        return Choice(drawn(numerators, denominator, word=word), said, denominator, self.scored, self.known)


def expected(
    belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, gate: float | None = None
) -> Expected:
    """Return what is expected of each candidate now; `gate` is the version's own where none is given.

    x: (K, d) in units of 1/64, C-contiguous; silent: the row that says nothing, None for a slate without one.
    """
    known, told = _told(belief, taught, x, silent=silent, now_ms=now_ms, gate=gate)
    scored, covariance = kernel.expect(*told)
    return Expected(scored, covariance, known)


def sampled(
    belief: Belief,
    taught: Taught,
    x: Ints,
    *,
    silent: int | None,
    now_ms: int,
    key: int,
    draws: int,
    gate: float | None = None,
) -> Choice:
    """Choose by shares of draws from what is expected, in one call: the same as `expected` and then `Expected.choice`."""
    known, told = _told(belief, taught, x, silent=silent, now_ms=now_ms, gate=gate)
    scored, shares, chosen = kernel.choose(
        *told,
        key & KEY_HALF,
        key >> 64,
        draws,
        belief.manner.exploration,
        belief.manner.optimism,
        belief.manner.floor_permille,
    )
    return Choice(chosen, shares, 1000 * len(x) * draws, scored, known)


class Several(NamedTuple):
    """What several policies say of the same slate, and what a `Choice` of any of them holds beside; all lists are (K,)."""

    pmfs: list[list[float]]
    """Of each policy, how likely each candidate is."""
    shared: list[float]
    own: list[float]
    known: int


def spelled(ways: Sequence[Way]) -> Floats:
    """Return these as `pmfs` takes them."""
    rows = [(kernel.OWN_GATE if one.gate is None else one.gate, *one[1:]) for one in ways]
    return np.array(rows, dtype=np.float64)


def pmfs(
    belief: Belief, taught: Taught, x: Ints, ways: Floats, *, silent: int | None, now_ms: int, keys: Sequence[int]
) -> Several:
    """Ask several policies in one call; each says to the bit what it says alone. ways: as `spelled` gives them; keys: one for each."""
    known, told = _told(belief, taught, x, silent=silent, now_ms=now_ms, gate=None)
    halves = np.array([(key & KEY_HALF, key >> 64) for key in keys], dtype=np.uint64)
    shared, own, *found = kernel.pmfs(
        *told, ways, halves, belief.manner.exploration, belief.manner.optimism, belief.manner.floor_permille
    ).tolist()
    return Several(found, shared, own, known)


def _told(
    belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, gate: float | None
) -> tuple[int, tuple[Ints, Ints, Ints, float, Floats, Floats, Floats, float, float, float, int]]:
    """How much is known of the person, and what the kernel is told."""
    d = len(belief.mean)
    assert x.shape[1] == d == len(taught.moment), "the kernel checks no bounds"
    one = unit_at(taught, now_ms=now_ms, half_life_ms=belief.half_life_ms)
    known = bisect_right(KNOWN_FROM, taught.n // one)
    return known, (
        x,
        taught.gram,
        taught.moment,
        UNIT / (SCALE * one) * belief.discount,
        belief.mean,
        belief.factor,
        belief.epoch.precision,
        belief.epoch.noise,
        belief.gate[known] if gate is None else gate,
        belief.manner.cost,
        -1 if silent is None else silent,
    )


def predicted(shared: float, own: float, known: int) -> Predicted:
    """Return what was expected of one candidate, as rows keep it.

    >>> predicted(0.5, -1.0, 2)
    Predicted(shared=512, own=-1024, known=2)
    """
    return Predicted(round(shared * PREDICTED_UNIT), round(own * PREDICTED_UNIT), known)

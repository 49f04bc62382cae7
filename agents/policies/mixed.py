"""The default: a gated mixed-effects linear bandit with optimistic Thompson sampling.

r = xᵀβ + bᵀθ + ε, where b is the first q features, β is everybody's and θ ~ N(0, Σ) the person's own, with Σ learned.
Draws from the joint posterior of the slate's scores, raised by a part of their deviations, each pick their best candidate; a
candidate's probability is its share of them, with a floor under it, and is the exact propensity. The person's part is listened to
as far as it has predicted better than everybody's alone (the gate). Closest relative: Tomkins et al. 2021,
"IntelligentPooling"; Agrawal & Goyal 2013 for the sampling, Chapelle & Li 2011 for its being optimistic.
"""

from __future__ import annotations

from agents.bandit import kernel
from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, words
from agents.bandit.expected import expected
from tables.linear import Ints
from tables.sums import UNIT, Taught

NAME = "mixed"
DRAWS = 64


def pmf(
    belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, key: int, gate: float | None = None
) -> Choice:
    """Return a probability for each candidate, and the one drawn."""
    found = expected(belief, taught, x, silent=silent, now_ms=now_ms, gate=gate)
    raw = words(key=key, n=kernel.words_for(len(x), draws=DRAWS) + 1)
    width, optimism = belief.config.exploration / UNIT, belief.config.optimism / UNIT
    won = kernel.draws_won(found.scored, found.covariance, raw, DRAWS, width, optimism).tolist()
    return found.choice(won, floor_permille=belief.config.floor_permille, word=int(raw[-1]), draws_won=won)

"""The default: a gated mixed-effects linear bandit with optimistic Thompson sampling.

r = xᵀβ + bᵀθ + ε, where b is the first q features, β is everybody's and θ ~ N(0, Σ) the person's own, with Σ learned.
Draws from the joint posterior of the slate's scores, raised by a part of their deviations, each pick their best candidate; a
candidate's probability is its share of them, with a floor under it, and is the exact propensity. The person's part is listened to
as far as it has predicted better than everybody's alone (the gate). Closest relative: Tomkins et al. 2021,
"IntelligentPooling"; Agrawal & Goyal 2013 for the sampling, Chapelle & Li 2011 for its being optimistic.
"""

from __future__ import annotations

from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, Way
from agents.bandit.expected import sampled
from tables.linear import Ints
from tables.sums import Taught

NAME = "mixed"
DRAWS = 64
WAY = Way(draws=DRAWS)


def pmf(
    belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, key: int, gate: float | None = None
) -> Choice:
    """Return a probability for each candidate, and the one drawn."""
    return sampled(belief, taught, x, silent=silent, now_ms=now_ms, key=key, draws=DRAWS, gate=gate)

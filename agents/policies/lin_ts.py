"""Linear Thompson sampling with everybody's β alone: what one person taught counts for all, and no more for them.

Agrawal & Goyal 2013, "Thompson sampling for contextual bandits with linear payoffs".
"""

from __future__ import annotations

from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, Way
from agents.policies import mixed
from tables.linear import Ints
from tables.sums import Taught

NAME = "lin_ts"
WAY = Way(gate=0.0, draws=mixed.DRAWS)


def pmf(belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, key: int) -> Choice:
    """Return a probability for each candidate, and the one drawn."""
    return mixed.pmf(belief, taught, x, silent=silent, now_ms=now_ms, key=key, gate=0.0)

"""ε-greedy on the gated mixed-effects mean: the best but for one decision in twenty, which falls on any.

Langford & Zhang 2007, "The epoch-greedy algorithm for contextual multi-armed bandits", in its everyday form.
"""

from __future__ import annotations

from agents.bandit import kernel
from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, Way, words
from agents.bandit.expected import expected
from tables.linear import Ints
from tables.sums import Taught

NAME = "epsilon_greedy"
EPSILON_PERMILLE = 50
WAY = Way(floor_permille=EPSILON_PERMILLE)


def pmf(belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, key: int) -> Choice:
    """Return a probability for each candidate, and the one drawn."""
    found = expected(belief, taught, x, silent=silent, now_ms=now_ms)
    best = kernel.best(found.scored, found.covariance, 0.0).tolist()
    floor_permille = max(belief.manner.floor_permille, EPSILON_PERMILLE)
    return found.choice(best, floor_permille=floor_permille, word=int(words(key=key, n=1)[0]))

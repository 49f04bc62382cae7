"""Hybrid LinUCB: the greatest mean plus WIDTH deviations, with the person's own part never gated.

Li et al. 2010, "A contextual-bandit approach to personalized news article recommendation", Algorithm 2; here on the sums of
the mixed model, so its ridge on a person's part is what people have shown.
"""

from __future__ import annotations

from agents.bandit import kernel
from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, Way, words
from agents.bandit.expected import expected
from tables.linear import Ints
from tables.sums import Taught

NAME = "linucb"
WIDTH = 0.25
WAY = Way(gate=1.0, width=WIDTH)


def pmf(belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, key: int) -> Choice:
    """Return a probability for each candidate, and the one drawn."""
    found = expected(belief, taught, x, silent=silent, now_ms=now_ms, gate=1.0)
    best = kernel.best(found.scored, found.covariance, WIDTH).tolist()
    return found.choice(best, floor_permille=belief.manner.floor_permille, word=int(words(key=key, n=1)[0]))

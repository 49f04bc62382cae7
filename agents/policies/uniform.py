"""Every candidate alike: what any policy has to beat, and what tells most about the others."""

from __future__ import annotations

import numpy as np

from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, drawn, words
from tables.linear import Ints
from tables.sums import Taught

NAME = "random"


def pmf(_: Belief, __: Taught, x: Ints, *, silent: int | None, now_ms: int, key: int) -> Choice:  # noqa: ARG001 - Pmf's
    """Return a probability for each candidate, and the one drawn."""
    k = len(x)
    chosen = drawn([1] * k, k, word=int(words(key=key, n=1)[0]))
    return Choice(chosen, np.array([[0] * k, [1] * k], dtype=np.int64), k)

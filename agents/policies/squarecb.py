"""SquareCB on the gated mixed-effects mean: the further behind the best, the less likely, by inverse gaps.

p = 1 / (K + γ gap) for all but the best, which has the rest. Foster & Rakhlin 2020, "Beyond UCB: optimal and efficient
contextual bandits with regression oracles".
"""

from __future__ import annotations

import numpy as np

from agents.bandit import kernel
from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, words
from agents.bandit.expected import expected
from tables.linear import Ints
from tables.sums import Taught

NAME = "squarecb"
GAMMA = 400
WHOLE = 1 << 40


def pmf(belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, key: int) -> Choice:
    """Return a probability for each candidate, and the one drawn."""
    found = expected(belief, taught, x, silent=silent, now_ms=now_ms)
    score = np.rint(found.scores * kernel.GRID).astype(np.int64).tolist()
    k, best, grid = len(score), max(score), int(kernel.GRID)
    shares = [WHOLE * grid // (k * grid + GAMMA * (best - one)) for one in score]
    first = [i for i, one in enumerate(score) if one == best]
    rest = WHOLE - sum(share for share, one in zip(shares, score, strict=True) if one != best)
    # Equals share what is left, in a denominator that they all divide.
    shares = [share * len(first) for share in shares]
    for i in first:
        shares[i] = rest
    return found.choice(shares, floor_permille=belief.manner.floor_permille, word=int(words(key=key, n=1)[0]))

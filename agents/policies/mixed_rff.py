"""The mixed-effects bandit on random Fourier features beside the linear ones: a smooth nonlinear taste that all share.

Rahimi & Recht 2007, "Random features for large-scale kernel machines". The cosines differ in the last bits between processors,
so it decides in shadows and benchmarks, not in `step`.
"""

from __future__ import annotations

from functools import lru_cache
from math import pi, sqrt

import numpy as np

from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, words
from agents.policies import mixed
from tables.linear import Floats, Ints
from tables.sums import UNIT, Taught

NAME = "mixed_rff"
FEATURES = 64
WAY = mixed.WAY
WIDTH = 1.0
"""Deviation of the frequencies, in units of 1 / √d of the linear features."""


def pmf(belief: Belief, taught: Taught, x: Ints, *, silent: int | None, now_ms: int, key: int) -> Choice:
    """Return a probability for each candidate, and the one drawn. x: (K, d + FEATURES), expanded."""
    return mixed.pmf(belief, taught, x, silent=silent, now_ms=now_ms, key=key)


def expand(x: Ints) -> Ints:
    """(K, d) to (K, d + FEATURES), in units of 1/64; a row of zeros stays one.

    >>> expand(np.array([[64, 0], [0, 0]])).shape, int(expand(np.array([[0, 0]])).any())
    ((2, 66), 0)
    """
    frequencies, phases = _frequencies(x.shape[1])
    waves = np.rint(UNIT * np.cos((x / UNIT) @ frequencies + phases)).astype(np.int64)
    waves[~x.any(axis=1)] = 0
    return np.ascontiguousarray(np.hstack([x, waves]))


@lru_cache(maxsize=8)
def _frequencies(d: int) -> tuple[Floats, Floats]:
    raw = words(key=d, n=(d + 1) * FEATURES)
    quarters = raw[: d * FEATURES].view(np.uint16).reshape(d, FEATURES, 4).sum(axis=2, dtype=np.int64)
    z = (quarters - 2 * 65535) / (65536.0 / sqrt(3.0))
    phases = (raw[d * FEATURES :] >> np.uint64(11)).astype(np.float64) * (2.0 * pi / (1 << 53))
    return z * WIDTH, phases

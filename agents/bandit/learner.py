"""What decides and learns over many people in memory: the one protocol of shadows, simulations and benchmarks.

A learner holds what rows, partitions and `learn` hold together in the running system. It never reads a clock.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Learner(Protocol):
    """A policy that learns as it goes. Calls come in the order of `time_ms`, except rewards, which may come late."""

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        """Return a probability for each candidate, (K,), adding up to 1: the caller draws from it.

        x: (K, d) in units of 1/64 within [-64, 64]; `silent`: the row that says nothing (all zeros, worth 0), None for
        a slate without one; key: 128 bits that all chance inside is taken from.
        """

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        """Take in the reward of one decision: its slate as it was, the row that was drawn, its probability and time."""

"""How long to pause before another attempt. It never sleeps and never tries."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts: they double up to the maximum, and each is drawn from its upper half."""

    first_s: float = 0.1
    max_s: float = 5.0

    def longest_s(self, failures: int) -> float:
        """Return the longest pause after this many failures in a row.

        >>> [Backoff(first_s=0.5, max_s=5.0).longest_s(n) for n in (1, 2, 3, 4, 5, 5000)]
        [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
        """
        return min(self.max_s, self.first_s * 2.0 ** min(failures - 1, 32))

    def pause_s(self, failures: int) -> float:
        """Draw the pause after this many failures in a row."""
        return self.longest_s(failures) * _CHANCE.uniform(0.5, 1.0)


_CHANCE = random.SystemRandom()
"""The system's: Python's own has a state that others may seed or watch, and that processes forked from one would share."""

PATIENT = Backoff()

"""How soon the next of many may begin, so that they are no more than so many in the long run. Pure: it never waits itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Pace:
    """One every `every_s`, and `burst` at once after a time with fewer.

    >>> pace = Pace(every_s=2.0, burst=3)
    >>> [pace.wait_s(now_s=100.0) for _ in range(5)]
    [0.0, 0.0, 0.0, 2.0, 4.0]
    >>> pace.wait_s(now_s=106.0)
    0.0
    """

    every_s: float
    burst: int
    _paid_s: float = 0.0
    """Until when what has begun uses up its share."""

    def wait_s(self, now_s: float) -> float:
        """Take the next one's place; returns how long it has to wait from now on."""
        earliest_s = now_s - (self.burst - 1) * self.every_s
        start_s = max(self._paid_s, earliest_s)
        self._paid_s = start_s + self.every_s
        return max(0.0, start_s - now_s)

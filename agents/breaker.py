"""Whether a server that failed is asked again: one breaker an alias. It asks nobody itself."""

from __future__ import annotations

from dataclasses import dataclass

from streams.units import SECOND_MS

FAILURES_MAX = 3
"""In a row; then nobody is asked for a while."""
SHUT_FIRST_MS = 5 * SECOND_MS
SHUT_MAX_MS = 300 * SECOND_MS


@dataclass(slots=True)
class Breaker:
    """Shut after some failures in a row, for a time that doubles up to a bound; then one call is let through at a time.

    >>> breaker = Breaker()
    >>> for _ in range(3): breaker.ended(well=False, now_ms=0)
    >>> breaker.lets(now_ms=4_999), breaker.lets(now_ms=5_000), breaker.lets(now_ms=5_001)
    (False, True, False)
    >>> breaker.ended(well=True, now_ms=5_100); breaker.lets(now_ms=5_101)
    True
    """

    failures: int = 0
    again_ms: int = 0
    """When the next call may go out, once it is shut."""

    @property
    def shut(self) -> bool:
        """Whether calls are held back."""
        return self.failures >= FAILURES_MAX

    def lets(self, *, now_ms: int) -> bool:
        """Whether a call may go out now; where it is shut, one that may counts as tried."""
        if not self.shut:
            return True
        if now_ms < self.again_ms:
            return False
        self.again_ms = now_ms + self._shut_ms()
        return True

    def ended(self, *, well: bool, now_ms: int) -> None:
        """Learn how a call ended."""
        self.failures = 0 if well else self.failures + 1
        if self.shut:
            self.again_ms = now_ms + self._shut_ms()

    def _shut_ms(self) -> int:
        return min(SHUT_MAX_MS, SHUT_FIRST_MS << min(self.failures - FAILURES_MAX, 16))

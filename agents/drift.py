"""Whether rewards have stopped being what the served policy expects of them, by policy and kind of tip.

ADWIN (Bifet & Gavaldà 2007, "Learning from time-changing data with adaptive windowing") on the residuals, by river. It only
says so; what follows from it is `learn`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from river.drift import ADWIN

DELTA = 0.002
"""Chance of a false alarm at each look."""


@dataclass(slots=True)
class Drift:
    """What was found of one policy and kind."""

    window: ADWIN
    n: int = 0
    last_ms: int = 0


@dataclass(slots=True)
class Drifts:
    """One window of residuals for each policy and kind of tip."""

    of: dict[tuple[str, int], Drift] = field(default_factory=dict)

    def update(self, policy: str, kind: int, residual: float, *, now_ms: int) -> bool:
        """Takes in reward less expectation; True where the recent ones differ from those before.

        >>> drifts = Drifts()
        >>> any([drifts.update("mixed", 2, 0.4 if n % 2 else -0.4, now_ms=n) for n in range(600)])
        False
        >>> any([drifts.update("mixed", 2, 0.8 if n % 2 else 0.0, now_ms=n) for n in range(600)]), drifts.of["mixed", 2].n
        (True, 1)
        """
        one = self.of.get((policy, kind))
        if one is None:
            one = self.of[policy, kind] = Drift(ADWIN(delta=DELTA))
        one.window.update(residual)
        if one.window.drift_detected:
            one.n += 1
            one.last_ms = now_ms
        return bool(one.window.drift_detected)

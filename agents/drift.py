"""Whether rewards have stopped being what the served policy expects of them, by policy and kind of tip.

ADWIN (Bifet & Gavaldà 2007, "Learning from time-changing data with adaptive windowing") on the residuals, by river. It only
says so; what follows from it is `learn`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# What `river.drift.ADWIN` holds; importing it the other way takes 110 MB, for pandas, scipy and scikit-learn. A test holds both side by side.
from river._river_rust.drift import AdaptiveWindowing

DELTA = 0.002
"""Chance of a false alarm at each look."""


@dataclass(slots=True)
class Drift:
    """What was found of one policy and kind."""

    window: AdaptiveWindowing
    n: int = 0
    last_ms: int = 0
    is_over: bool = False
    """The window's time: the next residual begins a new one."""


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
            one = self.of[policy, kind] = Drift(_window())
        elif one.is_over:
            one.window = _window()
        one.is_over = bool(one.window.update(residual))
        if one.is_over:
            one.n += 1
            one.last_ms = now_ms
        return one.is_over

    def among(self, policy: str, kind: int) -> list[Drift]:
        """Give what was found of this kind's tips; of each kind for 0.

        >>> drifts = Drifts()
        >>> _ = [drifts.update("mixed", kind, 0.0, now_ms=0) for kind in (1, 2)]
        >>> [len(drifts.among("mixed", kind)) for kind in (0, 1, 3)]
        [2, 1, 0]
        """
        return [one for (who, of), one in self.of.items() if who == policy and kind in {0, of}]


def _window() -> AdaptiveWindowing:
    return AdaptiveWindowing(delta=DELTA, clock=32, max_buckets=5, min_window_length=5, grace_period=10)

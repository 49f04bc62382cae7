"""When rewards stop being what was expected of them."""

from __future__ import annotations

import numpy as np
from river.drift import ADWIN

from agents.drift import DELTA, Drifts


def test_a_window_says_what_the_librarys_own_class_around_it_says() -> None:
    chance, drifts, theirs = np.random.default_rng(8), Drifts(), ADWIN(delta=DELTA)
    found = 0
    for n in range(6000):
        residual = float(chance.normal(0.5 * (n // 1500 % 2), 0.3))
        theirs.update(residual)
        assert drifts.update("mixed", 2, residual, now_ms=n) == theirs.drift_detected
        found += theirs.drift_detected
    assert drifts.of["mixed", 2].n == found >= 3

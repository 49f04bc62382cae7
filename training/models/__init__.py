"""Reward models by name: one algorithm a file, one line here.

Each is fitted to features in [0, 1] and rewards in units of a done, and gives what scikit-learn calls a regressor, of a kind that `training.export` carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.models import boosting, linear, net

Floats = npt.NDArray[np.float64]


class Regressor(Protocol):
    """What predicts one number a row."""

    def predict(self, x: npt.NDArray[np.float32], /) -> Floats:
        """(n, d) to (n,)."""


Fit = Callable[[npt.NDArray[np.float32], Floats], Regressor]
MODELS: Mapping[str, Fit] = {module.NAME: module.fit for module in (linear, boosting, net)}

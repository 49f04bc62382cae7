"""A small neural net: one layer of 32 rectified units. The same every time on one machine."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

NAME = "net"
UNITS, PENALTY, EPOCHS = 32, 1e-2, 60


def fit(x: npt.NDArray[np.float32], y: npt.NDArray[np.float64]) -> MLPRegressor:
    """Fit it; x: (n, d), y: (n,)."""
    made = MLPRegressor(hidden_layer_sizes=(UNITS,), alpha=PENALTY, max_iter=EPOCHS, random_state=0)
    with warnings.catch_warnings():
        # So many epochs are the bound, reached or not: fewer rows than the net could learn by heart.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return made.fit(x, y)

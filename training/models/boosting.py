"""Gradient boosting over histograms (Friedman 2001; Ke et al. 2017): what features say together. Without categories, which an export loses, and the
same every time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor

NAME = "boosting"
TREES, LEAVES, LEAF_ROWS, STEP = 100, 8, 20, 0.06


def fit(x: npt.NDArray[np.float32], y: npt.NDArray[np.float64]) -> HistGradientBoostingRegressor:
    """Fit it; x: (n, d), y: (n,)."""
    made = HistGradientBoostingRegressor(
        max_iter=TREES,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=LEAF_ROWS,
        learning_rate=STEP,
        l2_regularization=1.0,
        categorical_features=None,
        early_stopping=False,
        random_state=0,
    )
    return made.fit(x, y)

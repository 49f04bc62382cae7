"""A fitted model made to mean what it says: its predictions on a line, fitted to people and decisions that it has not seen.

A line and no steps: isotonic regression is none of what skl2onnx 1.20 carries, and a line can be told in two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.models import Regressor

Floats = npt.NDArray[np.float64]
ROWS_MIN = 30
"""With fewer rows to calibrate with, a model is only shifted."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """reward = shift + scale · what the model says."""

    model: Regressor
    scale: float
    shift: float

    def predict(self, x: npt.NDArray[np.float32]) -> Floats:
        """(n, d) to (n,), in units of a done."""
        return self.shift + self.scale * np.asarray(self.model.predict(x), dtype=np.float64).reshape(len(x))


def calibrate(model: Regressor, x: npt.NDArray[np.float32], y: Floats) -> Calibrated:
    """Fit the line by least squares; never one that falls. Without rows the model stays as it is."""
    if not len(y):
        return Calibrated(model, 1.0, 0.0)
    said = np.asarray(model.predict(x), dtype=np.float64).reshape(len(x))
    spread = float(said.var())
    scale = 1.0
    if len(y) >= ROWS_MIN and spread > 0:
        scale = max(float(((said - said.mean()) * (y - y.mean())).mean()) / spread, 0.0)
    return Calibrated(model, scale, float(y.mean() - scale * said.mean()))

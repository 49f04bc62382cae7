"""A linear model in numpy: the line that stands in a version's model.json, without any runtime's library. What a row gets depends on no other row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from connectors.model_registry import ABOUT
from serving.scorer.runtimes import Unusable
from serving.scorer.wire import Floats


class Linear:
    """reward = bias + weights · features, added up in doubles."""

    platform = "oo_linear"

    def __init__(self, weights: npt.NDArray[np.float64], bias: float) -> None:
        self._weights, self._bias, self.d = weights, bias, len(weights)

    @classmethod
    def of(cls, folder: Path, d: int) -> Self:
        """Load it. Raises Unusable for a model that is no line."""
        line = json.loads((folder / ABOUT).read_text()).get("linear")
        try:
            weights, bias = np.array(line["weights"], dtype=np.float64), float(line["bias"])
        except (TypeError, KeyError, ValueError):
            raise Unusable(
                f"{ABOUT} has no `linear` with weights and a bias: only the onnx runtime serves this model"
            ) from None
        if weights.shape != (d,) or not np.isfinite([*weights, bias]).all():
            raise Unusable(f"`linear` in {ABOUT} has to have {d} weights, and finite numbers")
        return cls(weights, bias)

    def infer(self, features: Floats) -> Floats:
        """See Runtime."""
        found: Floats = ((features * self._weights).sum(axis=1) + self._bias).astype(np.float32)
        return found

"""A fitted model as ONNX: one input `features` FP32 [n, d], one output `reward` FP32 [n, 1], and whether it answers as the fitted one does.

Converters lose what they do not know without a word, so what may be exported is a list, and each export is held against its model on real rows before
anybody may use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn
from skl2onnx.common._registration import get_converter, get_shape_calculator
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor

from agents.features import ONE
from training.calibrated import Calibrated

OPSETS = {"": 17, "ai.onnx.ml": 3}
IR_VERSION = 8
MAY: Mapping[type, Mapping[str, Any]] = {
    Ridge: {},
    HistGradientBoostingRegressor: {"loss": "squared_error", "categorical_features": None},
    MLPRegressor: {"loss": "squared_error"},
}
"""What may be exported, and which parameters have to be so: others an export would lose."""
DIFFERENCE_MAX = 1e-4
OTHERWISE_MAX = 0.001
"""The share of predictions that may come to another whole number of 1/64: those that lie halfway between two."""


class CannotExport(Exception):
    """A model is none that an export carries, or its export answers otherwise; one line."""


class Compared(NamedTuple):
    """A fitted model and its export, on the same rows."""

    rows: int
    predictions: int
    """On these rows, and with each feature zeroed in turn."""
    difference: float
    """The greatest."""
    otherwise: float
    """The share that comes to another whole number of 1/64."""

    @property
    def why_not(self) -> str:
        """Why it may not be registered; empty where it may."""
        if not self.rows:
            return "there is no row to hold the export against"
        if self.difference <= DIFFERENCE_MAX and self.otherwise <= OTHERWISE_MAX:
            return ""
        return (
            f"its export answers otherwise: by {self.difference:.2g} at most (allowed {DIFFERENCE_MAX:g}), and for {self.otherwise:.2%} of "
            f"{self.predictions} predictions by a 1/64 or more (allowed {OTHERWISE_MAX:.1%})"
        )


def exported(one: Calibrated, *, names: Sequence[str]) -> bytes:
    """Return the model as ONNX. Raises CannotExport for what is not on the list."""
    kind = type(one.model)
    if kind not in MAY:
        known = ", ".join(each.__name__ for each in MAY)
        raise CannotExport(f"{kind.__name__} is none of what may be exported: {known}")
    for name, value in MAY[kind].items():
        if repr(found := getattr(one.model, name)) != repr(value):
            raise CannotExport(f"{kind.__name__} with {name}={found!r} loses that in an export: only {value!r} may be")
    graph = _converted(one.model, d=len(names)).graph
    (said,) = graph.output
    line = [
        helper.make_tensor("scale", TensorProto.FLOAT, [1], [one.scale]),
        helper.make_tensor("shift", TensorProto.FLOAT, [1], [one.shift]),
    ]
    made = helper.make_graph(
        [
            *graph.node,
            helper.make_node("Mul", [said.name, "scale"], ["scaled"]),
            helper.make_node("Add", ["scaled", "shift"], ["reward"]),
        ],
        "reward",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(names)])],
        [helper.make_tensor_value_info("reward", TensorProto.FLOAT, ["n", 1])],
        [*graph.initializer, *line],
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid(domain, number) for domain, number in OPSETS.items()],
        ir_version=IR_VERSION,
        producer_name="oo",
    )
    helper.set_model_props(model, {"features": ",".join(names)})
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def answers(content: bytes, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What an exported model says of these rows; (n, d) to (n,)."""
    return _session(content).run(["reward"], {"features": x})[0][:, 0]  # type: ignore[no-any-return]


def compared(one: Calibrated, content: bytes, x: npt.NDArray[np.float32]) -> Compared:
    """Hold an export against its model on these rows, as they are and with each feature zeroed in turn; rows that are the same count once."""
    rows, session = np.unique(x, axis=0), _session(content)
    worst, otherwise, many = 0.0, 0, 0
    for feature in (None, *np.flatnonzero(rows.any(axis=0)).tolist()):
        given = rows.copy()
        if feature is not None:
            given[:, feature] = 0
        mine = one.predict(given)
        theirs = session.run(["reward"], {"features": given})[0][:, 0].astype(np.float64)
        if not np.isfinite(theirs).all():
            return Compared(len(rows), many + len(rows), float("inf"), 1.0)
        worst = max(worst, float(abs(mine - theirs).max(initial=0.0)))
        otherwise += int((np.rint(ONE * mine) != np.rint(ONE * theirs)).sum())
        many += len(rows)
    return Compared(len(rows), many, worst, otherwise / many if many else 0.0)


def _session(content: bytes) -> Any:
    alone = onnxruntime.SessionOptions()
    # More threads wait for each other on a busy machine, and give other last bits.
    alone.intra_op_num_threads = alone.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(content, alone, providers=["CPUExecutionProvider"])


def _converted(model: Any, *, d: int) -> Any:
    alias = "SklearnHistGradientBoostingRegressor"
    boosting, shapes = get_converter(alias), get_shape_calculator(alias)
    return convert_sklearn(
        model,
        initial_types=[("features", FloatTensorType([None, d]))],
        target_opset=OPSETS,
        custom_conversion_functions={
            HistGradientBoostingRegressor: lambda scope, operator, into: boosting(scope, operator, _Whole(into))
        },
        custom_shape_calculators={HistGradientBoostingRegressor: shapes},
    )


class _Whole:
    """Takes a tree's flags as whole numbers: skl2onnx 1.20.0 gives them as booleans, which protobuf 7 refuses (findings/hist-boosting-export.sh)."""

    def __init__(self, into: Any) -> None:
        self._into = into

    def __getattr__(self, name: str) -> Any:
        return getattr(self._into, name)

    def add_node(self, *named: Any, **said: Any) -> None:
        for name, value in said.items():
            if isinstance(value, list):
                said[name] = [int(one) if isinstance(one, bool | np.bool_) else one for one in value]
        self._into.add_node(*named, **said)

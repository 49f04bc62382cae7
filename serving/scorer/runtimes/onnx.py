"""ONNX Runtime on this processor, with one thread: more of them wait for each other on a busy machine, and give other last bits.

The last bits of an answer depend on how many rows come together (docs/models.md says by how much): a row alone takes another way than
one among others, so that a row that comes alone is given a second one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np

from connectors.model_registry import MODEL
from serving.scorer.runtimes import Unusable
from serving.scorer.wire import INPUT, OUTPUT, Floats


class OnnxRuntime:
    """A file with `features` FP32 [n, d] and `reward` FP32 [n, 1]."""

    platform = "onnx_onnxruntime"

    def __init__(self, session: Any, d: int) -> None:
        self._session, self.d = session, d

    @classmethod
    def of(cls, folder: Path, d: int) -> Self:
        """Load it. Raises Unusable."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # What is wrong with a file is said once, by us.
        try:
            session = onnxruntime.InferenceSession(folder / MODEL, options, providers=["CPUExecutionProvider"])
            inputs, outputs = session.get_inputs(), session.get_outputs()
        except Exception as error:  # noqa: BLE001 - its exceptions share no class of their own
            raise Unusable(f"{MODEL} cannot be loaded: {' '.join(str(error).split())[:200]}") from None
        found = [(one.name, one.type) for one in (*inputs, *outputs)]
        width = inputs[0].shape[-1:] if inputs else []
        if found != [(INPUT, "tensor(float)"), (OUTPUT, "tensor(float)")] or width != [d]:
            raise Unusable(
                f"{MODEL} takes and gives {found} with {width} features; {INPUT} float [n, {d}] and {OUTPUT} float [n, 1] are needed"
            )
        return cls(session, d)

    def infer(self, features: Floats) -> Floats:
        """See Runtime."""
        given = np.repeat(features, 2, axis=0) if len(features) == 1 else features
        found: Floats = self._session.run([OUTPUT], {INPUT: given})[0].reshape(-1)
        return found[: len(features)]

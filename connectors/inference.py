"""Asks a server of the Open Inference Protocol (v2) what a model expects: our scorer, or any other that speaks it.

It asks once, with a deadline, and never tries again. What does not come is one fixed word.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, Self

import httpx
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Failure = Literal["timeout", "unreachable", "overloaded", "refused", "bad-answer"]

INPUT, OUTPUT = "features", "reward"


class InferenceFailed(Exception):
    """Nothing was said; `reason` is why, and `detail` the server's own words, if there are any."""

    def __init__(self, reason: Failure, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason: Failure = reason


class Inference:
    """One server. Use it inside one running loop, as an asynchronous context."""

    def __init__(self, url: str, *, deadline_s: float) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, timeout=deadline_s, trust_env=False, limits=httpx.Limits(max_connections=8)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def expected(self, model: str, x: Floats) -> Floats:
        """Return what this very version of a model, NAME@VERSION, expects of each row; x: (n, d), the answer (n,). Raises InferenceFailed."""
        name, _, version = model.partition("@")
        asked = {
            "inputs": [{"name": INPUT, "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}],
            "outputs": [{"name": OUTPUT}],
        }
        try:
            answer = await self._client.post(f"/v2/models/{name}/versions/{version}/infer", json=asked)
        except httpx.TimeoutException:
            raise InferenceFailed("timeout") from None
        except httpx.TransportError:
            raise InferenceFailed("unreachable") from None
        if answer.status_code in (429, 503, 504):
            raise InferenceFailed("overloaded", _said(answer))
        if answer.status_code != httpx.codes.OK:
            raise InferenceFailed("refused", _said(answer))
        return _read(answer, len(x))


def _read(answer: httpx.Response, n: int) -> Floats:
    try:
        outputs: list[dict[str, Any]] = answer.json()["outputs"]
        found = np.array(next(one["data"] for one in outputs if one["name"] == OUTPUT), dtype=np.float32).ravel()
    except (ValueError, KeyError, TypeError, StopIteration):
        raise InferenceFailed("bad-answer") from None
    if found.shape != (n,) or not np.isfinite(found).all():
        raise InferenceFailed("bad-answer", f"{n} numbers were asked for")
    return found


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])[:200]
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"

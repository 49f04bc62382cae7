"""Runs a model in this process: where requests are read if a batch is a matter of a moment, else in a thread."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import numpy as np

from serving.scorer.runtimes import Failed
from serving.scorer.wire import Floats

MOMENT_S = 0.002
"""A thread costs a tenth of a millisecond, and whoever else asks has to wait as long as a model runs without one."""
TRIES = 3


class Local(Protocol):
    """A model that a call runs."""

    platform: str
    d: int

    def infer(self, features: Floats) -> Floats:
        """(n, d) to (n,)."""


class Here:
    """See Runtime."""

    def __init__(self, model: Local, *, rows_max: int) -> None:
        """Run the greatest batch a few times, which also makes it warm. Raises Failed."""
        self._model, self.platform, self.d = model, model.platform, model.d
        took_s = []
        for _ in range(TRIES):
            started_s = time.perf_counter()
            self._run(np.zeros((rows_max, self.d), np.float32))
            took_s.append(time.perf_counter() - started_s)
        self._at_once_rows = rows_max * MOMENT_S / min(took_s)

    async def infer(self, features: Floats) -> Floats:
        """See Runtime."""
        return (
            self._run(features) if len(features) <= self._at_once_rows else await asyncio.to_thread(self._run, features)
        )

    def _run(self, features: Floats) -> Floats:
        try:
            found = self._model.infer(features)
        except Exception as error:  # noqa: BLE001 - a runtime's exceptions share no class of their own
            raise Failed(f"the model failed: {' '.join(str(error).split())[:200]}") from None
        if found.shape != (len(features),) or not np.isfinite(found).all():
            raise Failed("the model gave no finite number for each row")
        return found

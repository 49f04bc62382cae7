"""Requests that come together run together: one queue a version, bounded in rows, and a deadline for each request.

Nothing waits for company unless it was told to: what is there when the model is free goes together. It never splits a request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import numpy as np

from serving.scorer.metrics import Metrics
from serving.scorer.runtimes import Failed, Runtime
from serving.scorer.wire import Floats


class Late(Exception):
    """The deadline of a request has passed before its answer was there."""


class Overloaded(Exception):
    """More rows wait than may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one version."""

    rows_max: int
    """Of one request, and of what runs together."""
    waiting_rows_max: int
    wait_s: float
    """How long the first of a batch waits for company."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    features: Floats
    answer: asyncio.Future[Floats]


class Batches:
    """Use it inside one running loop. Nothing of it runs while nobody waits, so that a version goes when its last request has gone."""

    def __init__(self, runtime: Runtime, limits: Limits, metrics: Metrics) -> None:
        self.runtime = runtime
        self._limits, self._metrics = limits, metrics
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._running: asyncio.Task[None] | None = None

    async def infer(self, features: Floats, *, until_s: float) -> Floats:
        """(n, d) to (n,), by the loop's clock `until_s`. Raises Late, Overloaded and Failed."""
        loop = asyncio.get_running_loop()
        # Whoever comes first is always taken: a bound below one request would refuse it for ever.
        if self._rows and self._rows + len(features) > self._limits.waiting_rows_max:
            raise Overloaded
        one = _Waiting(features, loop.create_future())
        late = loop.call_at(until_s, self._late, one.answer)
        self._waiting.append(one)
        self._count(len(features))
        if self._running is None:
            # It begins when all that came in this round of the loop was read.
            self._running = asyncio.create_task(self._run())
        try:
            return await one.answer
        finally:
            late.cancel()

    async def _run(self) -> None:
        try:
            while self._waiting:
                if self._limits.wait_s:
                    await asyncio.sleep(self._limits.wait_s)
                if batch := self._taken():
                    await self._answer(batch)
        finally:
            self._running = None

    def _taken(self) -> list[_Waiting]:
        """As many as may run together, of those that still wait for an answer."""
        batch, rows = list[_Waiting](), 0
        while self._waiting:
            one = self._waiting[0]
            if batch and rows + len(one.features) > self._limits.rows_max:
                break
            self._waiting.popleft()
            self._count(-len(one.features))
            if not one.answer.done():
                batch.append(one)
                rows += len(one.features)
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        together = batch[0].features if len(batch) == 1 else np.concatenate([one.features for one in batch])
        self._metrics.batch_rows.observe(len(together))
        try:
            rewards = await self.runtime.infer(together)
        except Failed as failed:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(Failed(str(failed)))
            return
        at = 0
        for one in batch:
            if not one.answer.done():
                one.answer.set_result(rewards[at : at + len(one.features)])
            at += len(one.features)

    def _count(self, rows: int) -> None:
        self._rows += rows
        self._metrics.waiting_rows.inc(rows)

    @staticmethod
    def _late(answer: asyncio.Future[Floats]) -> None:
        if not answer.done():
            answer.set_exception(Late())

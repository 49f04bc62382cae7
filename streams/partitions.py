"""Runs a handler over a stream of batches: in order within a partition, concurrently across partitions.

Never acknowledges a batch whose handler has not returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import faust
from faust.types import TP, StreamT

from streams.record import Batch
from streams.run_state import Flow, run_state_of
from streams.stall import Stall

log = logging.getLogger(__name__)

Handler = Callable[[Batch], Awaitable[None]]
Hook = Callable[[set[int]], Awaitable[None]]

_WATCH_EVERY_S = 1.0
_STALL_TOLD_AFTER_S = 10.0
"""Long before it ends the process."""


class Stalled(Exception):
    """Records wait and none is handled."""


class _Lane:
    """One partition's life: its queue and the task that handles it."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.queue: deque[Batch] = deque()
        self.ready = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self.loaded = False
        self.progressed_s = time.monotonic()
        self.doing = "its state has been loading"
        self.task: asyncio.Task[None] | None = None


class Partitions:
    """The life of one topic's assigned partitions in this process.

    `await handle(batch)` runs once per batch, after `await on_assigned({partition})` of its partition has
    returned. A handler that raises ends the process, its batch uncommitted. `on_revoked` drops state: it is called
    when no handler of that partition runs any more. Both hooks get the partitions' numbers, one or more at a time;
    a rebalance that leaves a partition here calls neither.
    """

    def __init__(
        self,
        app: faust.App,
        topic: str,
        handle: Handler,
        *,
        on_assigned: Hook | None = None,
        on_revoked: Hook | None = None,
        queue_batches_max: int = 4,
        drain_timeout_s: float = 5.0,
        stalled_after_s: float = 60.0,
    ) -> None:
        self.topic = topic
        self._handle = handle
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._queue_batches_max = queue_batches_max
        self._drain_timeout_s = drain_timeout_s
        self._stalled_after_s = stalled_after_s
        self._lanes: dict[int, _Lane] = {}
        self._generation = 0
        self._draining = False
        self._run_state = run_state_of(app)
        assert topic not in self._run_state.partitions, f"{topic} already has its Partitions in this app"
        self._run_state.partitions[topic] = self

    async def run(self, stream: StreamT[Any]) -> None:
        """Consume the stream for ever: `@app.agent(app.topic("oo.journal")) async def recommend(stream): ...`."""
        stream.enable_acks = False  # Acknowledged here, when the handler has returned.
        watching = asyncio.create_task(self._watch(), name=f"{self.topic}-watch")
        try:
            async for batch in stream:
                self._dispatch(batch)
        finally:
            watching.cancel()

    def assigned(self) -> frozenset[int]:
        """Partitions whose state is loaded and whose batches are handled here now."""
        return frozenset(number for number, lane in self._lanes.items() if lane.loaded)

    def lag(self, partition: int) -> int:
        """Records of the partition not yet handled, as of the last fetch; sys.maxsize while unknown. Never blocks."""
        tp = TP(self.topic, partition)
        state = self._flow.progress(tp)
        if state is None:
            return sys.maxsize
        position, end, _ = state
        oldest = self._flow.ledger.in_flight_from(tp)
        return max(0, end - (position if oldest is None else oldest))

    def position(self, partition: int) -> int | None:
        """Offset after the last handled record; None before the first."""
        return self._flow.ledger.handled(TP(self.topic, partition))

    def stalled(self) -> list[Stall]:
        """Partitions here that have not moved for ten seconds although records wait, or that are not loaded."""
        now_s = time.monotonic()
        return [
            Stall(self.topic, lane.partition, self._waits_at(lane.partition), f"{lane.doing} for {waited_s:.0f} s")
            for lane in self._lanes.values()
            if (waited_s := now_s - lane.progressed_s) > _STALL_TOLD_AFTER_S
            and not (lane.loaded and self.lag(lane.partition) == 0)
        ]

    # -- called by the consumer

    async def assign(self, partitions: set[int], *, generation: int) -> None:
        """A new assignment stands; batches follow."""
        # One generation after the other: nobody else can have had what was here before and is here again.
        stays = self._lanes.keys() & partitions if generation == self._generation + 1 else set()
        await self._drop(self._lanes.keys() - stays)
        self._generation = generation
        self._draining = False
        for partition in sorted(partitions - stays):
            lane = self._lanes[partition] = _Lane(partition)
            lane.task = asyncio.create_task(self._live(lane), name=f"{self.topic}-{partition}")

    async def drain(self) -> None:
        """Handle nothing more, and wait for the handlers that run; one that outlasts the bound is cancelled."""
        self._draining = True
        for lane in self._lanes.values():
            lane.queue.clear()
        busy = [lane for lane in self._lanes.values() if not lane.idle.is_set()]
        if not busy:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._drain_timeout_s):
                for lane in busy:
                    await lane.idle.wait()
        late = {lane.partition for lane in busy if not lane.idle.is_set()}
        if late:
            log.warning("drain.late topic=%s partitions=%s", self.topic, sorted(late))
            await self._drop(late)

    async def close(self) -> None:
        """End every partition's life."""
        self._draining = True
        await self._drop(set(self._lanes))

    # -- inside

    @property
    def _flow(self) -> Flow:
        assert self._run_state.flow is not None, "batches come from a consumer"
        return self._run_state.flow

    def _waits_at(self, partition: int) -> int | None:
        tp = TP(self.topic, partition)
        oldest, progress = self._flow.ledger.in_flight_from(tp), self._flow.progress(tp)
        return oldest if oldest is not None or progress is None else progress[0]

    async def _drop(self, partitions: set[int]) -> None:
        gone = [self._lanes.pop(partition) for partition in sorted(partitions)]
        for lane in gone:
            assert lane.task is not None
            lane.task.cancel()
        if gone:
            await asyncio.wait([lane.task for lane in gone if lane.task is not None], timeout=self._drain_timeout_s)
            if self._on_revoked is not None:
                await self._on_revoked({lane.partition for lane in gone})

    def _dispatch(self, batch: Batch) -> None:
        lane = self._lanes.get(batch.partition)
        if self._draining or lane is None or batch.generation != self._generation:
            log.info("batch.stale topic=%s partition=%d first=%d", batch.topic, batch.partition, batch.first)
            return
        lane.queue.append(batch)
        lane.ready.set()
        if len(lane.queue) >= self._queue_batches_max:
            self._flow.hold(TP(self.topic, batch.partition))

    async def _live(self, lane: _Lane) -> None:
        try:
            if self._on_assigned is not None:
                await self._on_assigned({lane.partition})
            lane.loaded = True
            lane.doing = "nothing has come from Kafka"
            lane.progressed_s = time.monotonic()
            while True:
                while not lane.queue:
                    lane.ready.clear()
                    await lane.ready.wait()
                batch = lane.queue.popleft()
                if len(lane.queue) <= self._queue_batches_max // 2:
                    self._flow.release(TP(self.topic, lane.partition))
                lane.idle.clear()
                lane.doing = f"records {batch.first} to {batch.last} have been in work"
                try:
                    await self._handle(batch)
                    self._flow.finished(batch)
                finally:
                    lane.idle.set()
                lane.doing = "nothing has come from Kafka"
                lane.progressed_s = time.monotonic()
                # A handler that never suspends must not keep the loop from heartbeats and other partitions.
                await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            self._run_state.fail(error)

    def _fetched_lately(self, partition: int) -> bool:
        """Whether Kafka has answered a fetch of it, were it with nothing: a lag of long ago means nothing."""
        progress = self._flow.progress(TP(self.topic, partition))
        return progress is not None and time.time() - progress[2] / 1000 < self._stalled_after_s / 2

    async def _watch(self) -> None:
        """Ends the process when nothing moves although records wait: Kafka's or Faust's recovery can hang."""
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            now_s = time.monotonic()
            for lane in self._lanes.values():
                if not lane.loaded or self._draining:
                    continue  # A load has its own bound; a rebalance is watched by serve().
                if self.lag(lane.partition) == 0 and self._fetched_lately(lane.partition):
                    lane.progressed_s = now_s
                elif now_s - lane.progressed_s > self._stalled_after_s:
                    self._run_state.fail(
                        Stalled(f"{self.topic}-{lane.partition} has not moved for {self._stalled_after_s:g} s")
                    )

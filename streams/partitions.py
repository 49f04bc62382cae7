"""Runs a handler over rounds of batches: all that arrived together, of every partition here; in order within a partition.

Never acknowledges a batch before its round has settled.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import faust
from faust.types import TP, StreamT

from streams.record import Batch
from streams.run_state import Flow, run_state_of
from streams.stall import Stall

log = logging.getLogger(__name__)

Handler = Callable[[Sequence[Batch]], Awaitable["asyncio.Future[None] | None"]]
Before = Callable[[Batch], "Awaitable[None] | None"]
Hook = Callable[[set[int]], Awaitable[None]]

ROUND_RECORDS_MAX = 500
"""A round takes no further batch past so many records: it is work of well under the time that a rebalance waits for."""
SETTLING_MAX = 8
"""Rounds that have been handled and have not settled: then the next one waits."""
_WATCH_EVERY_S = 1.0


class Stalled(Exception):
    """Records wait and none is handled."""


class _Lane:
    """One partition's life: its queue, and how much of it is in work."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.queue: deque[Batch] = deque()
        self.idle = asyncio.Event()
        self.idle.set()
        self.in_work = 0
        self.loaded = False
        self.progressed_s = time.monotonic()
        self.doing = "its state has been loading"
        self.waiting = False
        """Its next batch waits for something of its own; no other partition does."""
        self.cleared: Batch | None = None
        """The batch that has waited."""
        self.task: asyncio.Task[None] | None = None
        """Its load, or its wait."""

    def begin(self, what: str) -> None:
        self.in_work += 1
        self.idle.clear()
        self.doing = what

    def end(self) -> None:
        self.in_work -= 1
        self.progressed_s = time.monotonic()
        if not self.in_work:
            self.idle.set()
            self.doing = "nothing has come from Kafka"


class Partitions:
    """The life of one topic's assigned partitions in this process.

    `await handle(batches)` runs for one round at a time, over what has arrived of all partitions, after `await
    on_assigned({partition})` of each has returned; several batches of one partition stand in its order. The next round may
    begin when it returns. What it returns is done when the round has settled: then its batches count as handled; None: they do now.
    A handler that raises, or a round that settles with an exception, ends the process with its batches uncommitted.

    `before(batch)` is asked once of each batch: what it gives is awaited first, and holds up no other partition. `on_revoked`
    drops state: it is called when no round with that partition runs any more. Both hooks get the partitions' numbers, one
    or more at a time; a rebalance that leaves a partition here calls neither.

    `told_after_s`: of records that wait, when `stalled` tells of them, long before `stalled_after_s` ends the process.
    """

    def __init__(
        self,
        app: faust.App,
        topic: str,
        handle: Handler,
        *,
        before: Before = lambda _: None,
        on_assigned: Hook | None = None,
        on_revoked: Hook | None = None,
        queue_batches_max: int = 4,
        drain_timeout_s: float = 5.0,
        stalled_after_s: float = 60.0,
        told_after_s: float = 10.0,
    ) -> None:
        self.topic = topic
        self._handle = handle
        self._before = before
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._queue_batches_max = queue_batches_max
        self._drain_timeout_s = drain_timeout_s
        self._stalled_after_s = stalled_after_s
        self._told_after_s = told_after_s
        self._lanes: dict[int, _Lane] = {}
        self._generation = 0
        self._draining = False
        self._stirred = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self._settling: set[asyncio.Future[None]] = set()
        self._run_state = run_state_of(app)
        assert topic not in self._run_state.partitions, f"{topic} already has its Partitions in this app"
        self._run_state.partitions[topic] = self

    async def run(self, stream: StreamT[Any]) -> None:
        """Keep the topic subscribed, and watch: `@app.agent(app.topic("oo.journal")) async def recommend(stream): ...`.

        Nothing comes through the stream: the consumer hands over all that one look at Kafka brought (`take`).
        """
        watching = asyncio.create_task(self._watch(), name=f"{self.topic}-watch")
        try:
            async for _ in stream:
                raise AssertionError("batches come through `take`")
        finally:
            watching.cancel()

    @property
    def draining(self) -> bool:
        """Whether what is in work is waited for, and nothing new begins: a rebalance, or the end."""
        return self._draining

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

    def oldest_ms(self, partition: int) -> int | None:
        """When the oldest record that waits here was written; None where none waits."""
        lane = self._lanes.get(partition)
        return lane.queue[0].records[0].timestamp_ms if lane is not None and lane.queue else None

    def position(self, partition: int) -> int | None:
        """Offset after the last handled record; None before the first."""
        return self._flow.ledger.handled(TP(self.topic, partition))

    def stalled(self) -> list[Stall]:
        """Partitions here that have not moved for `told_after_s` although records wait, or that are not loaded."""
        now_s = time.monotonic()
        return [
            Stall(self.topic, lane.partition, self._waits_at(lane.partition), f"{lane.doing} for {waited_s:.0f} s")
            for lane in self._lanes.values()
            if (waited_s := now_s - lane.progressed_s) > self._told_after_s
            and not (lane.loaded and self.lag(lane.partition) == 0)
        ]

    # -- called by the consumer

    def take(self, batch: Batch) -> None:
        """A batch has arrived; a round takes it with all that arrived beside it. Never waits."""
        lane = self._lanes.get(batch.partition)
        if self._draining or lane is None or batch.generation != self._generation:
            log.info("batch.stale topic=%s partition=%d first=%d", batch.topic, batch.partition, batch.first)
            return
        lane.queue.append(batch)
        self._stirred.set()
        if len(lane.queue) == self._queue_batches_max:
            self._flow.hold(TP(self.topic, batch.partition))

    async def assign(self, partitions: set[int], *, generation: int) -> None:
        """A new assignment stands; batches follow."""
        # One generation after the other: nobody else can have had what was here before and is here again.
        stays = self._lanes.keys() & partitions if generation == self._generation + 1 else set()
        await self._drop(self._lanes.keys() - stays)
        self._generation = generation
        self._draining = False
        for partition in sorted(partitions - stays):
            lane = self._lanes[partition] = _Lane(partition)
            lane.task = asyncio.create_task(self._load(lane), name=f"{self.topic}-{partition}")
        if self._rounds is None and self._lanes:
            self._rounds = asyncio.create_task(self._go_round(), name=f"{self.topic}-rounds")

    async def drain(self) -> None:
        """Begin no further round, and wait until those that run have settled; what outlasts the bound is cancelled."""
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
        if self._rounds is not None:
            self._rounds.cancel()

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
        ending = {lane.task for lane in gone if lane.task is not None}
        if self._rounds is not None and any(not lane.idle.is_set() for lane in gone):
            # All partitions of a round that runs go together: none of them is idle before it has settled.
            ending.add(self._rounds)
            self._rounds = None
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending, timeout=self._drain_timeout_s)
        if gone and self._on_revoked is not None:
            await self._on_revoked({lane.partition for lane in gone})
        if self._rounds is None and self._lanes:
            self._rounds = asyncio.create_task(self._go_round(), name=f"{self.topic}-rounds")

    async def _load(self, lane: _Lane) -> None:
        try:
            if self._on_assigned is not None:
                await self._on_assigned({lane.partition})
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            self._run_state.fail(error)
            return
        lane.loaded = True
        if all(one.loaded for one in self._lanes.values()):
            self._run_state.starting.part(f"{self.topic}.loaded")
        lane.doing = "nothing has come from Kafka"
        lane.progressed_s = time.monotonic()
        self._stirred.set()

    async def _wait(self, lane: _Lane, batch: Batch, needed: Awaitable[None]) -> None:
        try:
            await needed
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            self._run_state.fail(error)
            return
        finally:
            lane.waiting = False
            lane.end()
        lane.cleared = batch
        self._stirred.set()

    async def _go_round(self) -> None:
        try:
            while True:
                while not (taken := self._next()):
                    self._stirred.clear()
                    await self._stirred.wait()
                for lane, batch in taken:
                    lane.begin(f"records {batch.first} to {batch.last} have been in work")
                self._run_state.watchdog.check()
                settled = await self._handle([batch for _, batch in taken])
                self._flow.handled()
                if settled is None:
                    self._finished(taken)
                else:
                    self._settling.add(settled)
                    settled.add_done_callback(partial(self._settled, taken))
                    while len(self._settling) >= SETTLING_MAX:
                        await asyncio.wait(self._settling, return_when=asyncio.FIRST_COMPLETED)
                # A handler that never suspends must not keep the loop from heartbeats and other topics.
                await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            self._run_state.fail(error)

    def _next(self) -> list[tuple[_Lane, Batch]]:
        """What the next round is made of; nothing where nothing may be handled now."""
        taken: list[tuple[_Lane, Batch]] = []
        records = 0
        if self._draining:
            return taken
        for partition, lane in list(self._lanes.items()):
            if not lane.queue or not lane.loaded or lane.waiting:
                continue
            if records >= ROUND_RECORDS_MAX:
                break
            while lane.queue and records < ROUND_RECORDS_MAX:
                batch = lane.queue[0]
                if batch is not lane.cleared and (needed := self._before(batch)) is not None:
                    lane.begin(f"records {batch.first} to {batch.last} wait for what they need")
                    lane.waiting = True
                    lane.task = asyncio.create_task(
                        self._wait(lane, batch, needed), name=f"{self.topic}-{partition}-waits"
                    )
                    break
                taken.append((lane, lane.queue.popleft()))
                records += len(batch.records)
            if len(lane.queue) <= self._queue_batches_max // 2:
                self._flow.release(TP(self.topic, partition))
            # Its turn comes again after everybody else's.
            self._lanes[partition] = self._lanes.pop(partition)
        return taken

    def _settled(self, taken: list[tuple[_Lane, Batch]], settled: asyncio.Future[None]) -> None:
        self._settling.discard(settled)
        if settled.cancelled():
            return
        if (error := settled.exception()) is not None:
            self._run_state.fail(error)
        else:
            self._finished(taken)

    def _finished(self, taken: list[tuple[_Lane, Batch]]) -> None:
        self._run_state.starting.part(f"{self.topic}.handled")
        for lane, batch in taken:
            # A partition that went elsewhere meanwhile is another's, also where it has come back.
            if self._lanes.get(lane.partition) is lane:
                self._flow.finished(batch)
                lane.end()

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

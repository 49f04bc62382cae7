"""Faust's aiokafka consumer, with the faults mended that lose, repeat or delay records.

Never commits an offset before its batch has been handled and everything produced for it is acknowledged.
Each override names the fault that it mends. It reaches into private parts of aiokafka, as Faust's own driver does:
both versions are pinned, and tests/streams fails where they move.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.client import ConsumerThread
from streams.handover import Aim, Handover, Push
from streams.offsets import Ledger
from streams.record import Batch
from streams.run_state import run_state_of


class Consumer(driver.Consumer):
    """Hands over each fetched batch of a partition, and commits exactly what was handled."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._handover = Handover(self._arrived)  # Faust's own constructor makes the thread.
        super().__init__(*args, **kwargs)
        self.ledger = Ledger()
        self._run_state = run_state_of(self.app)
        self._run_state.flow = self
        self._held: set[TP] = set()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(
            self, handover=self._handover, run_state=run_state_of(self.app), loop=self.loop, beacon=self.beacon
        )

    # -- fetching

    async def _drain_messages(self, fetcher: Any) -> None:
        """Mends, beside the cost per message: a hidden second of sleep when every partition is held back, gaps that
        count as acknowledged, and errors that leave the fetcher dead and the process running."""
        thread = self._thread
        handing = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(thread.hand_over(), thread.thread_loop))
        try:
            await handing
        except asyncio.CancelledError:
            if not (self.should_stop or self.app.should_stop or fetcher.should_stop):
                self._run_state.fail(RuntimeError("the fetcher was cancelled"))
            raise
        except Exception as error:
            if not self.app.should_stop:
                self._run_state.fail(error)
            raise
        finally:
            handing.cancel()

    def _arrived(self, push: Push) -> None:
        if self._run_state.failed:
            return
        try:
            self._deliver(push)
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            self._run_state.fail(error)
        if self._thread.full:
            self._thread.wake()

    def _deliver(self, push: Push) -> None:
        """Hand over all that one look brought, at once. Mends a message, an event and a stream for each batch: between two of
        them others run, so what came together was handled apart."""
        if push.epoch != self._handover.aim.epoch:
            return  # A revoke or the end follows: the next owner starts from the committed offset.
        for tp, batch, position in push.batches:
            if batch is not None:
                self.ledger.delivered(tp, first=batch.first, last=batch.last)
            self.ledger.passed(tp, upto=position)
            if batch is not None:
                self._run_state.partitions[tp.topic].take(batch)

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: no stream has a queue, and `hold` bounds each partition."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, see on_buffer_full."""

    def hold(self, tp: TP) -> None:
        """Fetch no more of this partition until `release`."""
        self._held.add(tp)
        self._take_aim()

    def release(self, tp: TP) -> None:
        """Fetch it again."""
        if tp in self._held:
            self._held.discard(tp)
            self._take_aim()

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        super().pause_partitions(tps)
        self._take_aim()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        super().resume_partitions(tps)
        self._take_aim()

    def stop_flow(self) -> None:
        super().stop_flow()
        self._take_aim(epoch=self._handover.aim.epoch + 1)

    def resume_flow(self) -> None:
        super().resume_flow()
        self._take_aim()

    def _take_aim(self, *, epoch: int | None = None) -> None:
        partitions = frozenset(self._active_partitions - self._held) if self.flow_active else frozenset()
        wider = not partitions <= self._handover.aim.partitions
        self._handover.aim = Aim(self._handover.aim.epoch if epoch is None else epoch, partitions)
        if wider:
            self._thread.wake()

    async def perform_seek(self) -> None:
        """Mends a seek that skips partitions without a commit: a new assignment starts at what was committed."""

    def progress(self, tp: TP) -> tuple[int, int, int] | None:
        """See ConsumerThread.progress."""
        return self._thread.progress(tp)

    # -- committing

    def handled(self) -> None:
        """A round has run: the client's thread may go on."""
        self._handover.handled.set()

    def finished(self, batch: Batch) -> None:
        """The handler of this batch returned."""
        self.ledger.finished(TP(batch.topic, batch.partition), last=batch.last)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Mends commits that pass a batch in flight or stop at a hole, and that do not wait for the producer."""
        offsets = self.ledger.committable()
        if not offsets or self._run_state.failed:
            return False
        await self._run_state.producer.flush()
        if not await self._thread.call_thread(self._thread.commit_offsets, offsets):
            return False
        self.ledger.committed(offsets)
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Mends acknowledgements forgotten before the last commit, and a wait without end for a slow agent."""
        self._run_state.rebalancing_since = time.monotonic()
        self.stop_flow()
        await self._drain()
        await super().on_partitions_revoked(revoked)
        self.ledger.forget()
        self._held.clear()
        self._take_aim()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Mends an expelled member that goes on as if nothing had happened."""
        self._run_state.rebalancing_since = None
        self._run_state.starting.part("group")
        if (wrong := self._thread.check_membership()) is not None:
            self._run_state.fail(RuntimeError(wrong))
        for partitions in self._run_state.partitions.values():
            mine = {tp.partition for tp in assigned if tp.topic == partitions.topic}
            await partitions.assign(mine, generation=generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def wait_empty(self) -> None:
        """Mends a wait for acknowledgements that polls once a second."""
        await self._drain()

    async def end(self, *, leave: bool = False) -> None:
        """Take no more, finish what runs, commit it: what a clean stop does first; `leave` gives the place up."""
        self.stop_flow()
        await self._drain()
        if leave and not self._run_state.failed:
            await self._thread.call_thread(self._thread.leave)

    def watch(self) -> None:
        """Fail if this member is dead without a word."""
        if (wrong := self._thread.check_membership()) is not None:
            self._run_state.fail(RuntimeError(wrong))

    def rejoin(self) -> None:
        """See ConsumerThread.rejoin."""
        self._thread.thread_loop.call_soon_threadsafe(self._thread.rejoin)

    async def _drain(self) -> None:
        """Wait for handlers that run, within their bound, then commit what has been handled."""
        drains = [partitions.drain() for partitions in self._run_state.partitions.values()]
        if drains:
            await asyncio.gather(*drains)
        try:
            await self.commit()
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            self._run_state.fail(error)

    async def on_task_error(self, exc: BaseException) -> None:
        """Mends an agent's failure that is logged and whose event counts as handled."""
        self._run_state.fail(exc)

"""Faust's aiokafka consumer, with the faults mended that lose, repeat or delay records.

Never commits an offset before its batch has been handled and everything produced for it is acknowledged.
Each override names the fault that it mends. It reaches into private parts of aiokafka, as Faust's own driver does:
both versions are pinned, and tests/streams fails where they move.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka.errors import CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.offsets import Ledger
from streams.record import Batch, Record

if TYPE_CHECKING:
    from streams.transport import Transport

log = logging.getLogger(__name__)

_FETCH_TIMEOUT_S = 1.0
_HELD_TIMEOUT_S = 0.02


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The half that runs in the client's own thread, so that heartbeats go on while the loop computes."""

    consumer: Consumer
    _member_id: str = ""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        """Mends the fixed `fetch_max_wait_ms=1500`: a partition waits that long behind an idle one's fetch."""
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.consumer.transport.options.fetch_wait_ms
        return consumer

    async def fetch(self, epoch: int, partitions: frozenset[TP], timeout_s: float) -> tuple[int, dict[TP, list[Any]]]:
        """Records of each partition, at most `poll_records_max` of each, and their assignment's generation.

        Mends three faults: one busy partition fills the whole poll; the generation is read only later, in another
        thread; records fetched across a rebalance are dropped after their position has moved on.
        """
        consumer = self._ensure_consumer()
        fetcher, limit = consumer._fetcher, consumer._max_poll_records
        fetched: dict[TP, list[Any]] = {}
        with fetcher._subscriptions.fetch_context():
            some = await fetcher.fetched_records(partitions, timeout=timeout_s, max_records=limit)
            while some:
                fetched |= {TP(tp.topic, tp.partition): records for tp, records in some.items()}
                others = partitions - fetched.keys()
                # Asked without a timeout it does not suspend, unless a rebalance has begun.
                if not others or fetcher._subscriptions.reassignment_in_progress:
                    break
                some = await fetcher.fetched_records(others, timeout=0, max_records=limit)
        if epoch != self.consumer.epoch:
            # The flow was stopped while this waited. In the same step that moved the positions, move them back.
            for tp, records in fetched.items():
                consumer.seek(driver.ensure_aiokafka_TP(tp), records[0].offset)
            return -1, {}
        return consumer._coordinator.generation, fetched

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Commit; False when the group has moved on, so that the new owner handles these records again.

        Mends a commit that reports success although nothing was left to commit.
        """
        consumer = self._ensure_consumer()
        wanted = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items()}
        if not wanted.keys() <= consumer.assignment():
            return False
        try:
            await consumer.commit(wanted)
        except (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError) as refused:
            log.warning("commit.refused error=%s", type(refused).__name__)
            return False
        return True

    def check_membership(self) -> str | None:
        """What is wrong with this member, if anything.

        Mends two silent deaths: a coordinator task that has ended, and a member that Kafka had expelled and that
        joined again under another id while its old work goes on.
        """
        coordinator = self._ensure_consumer()._coordinator
        task = getattr(coordinator, "_coordination_task", None)
        if task is not None and task.done():
            return "the group coordination task has ended"
        member_id = getattr(coordinator, "member_id", "")
        if self._member_id and member_id != self._member_id:
            return "this member was expelled from its group"
        self._member_id = member_id
        return None

    def progress(self, tp: TP) -> tuple[int, int, int] | None:
        """(position, high-water mark, wall clock of the last fetch in ms) of an assigned partition, once fetched."""
        consumer = self._ensure_consumer()
        subscription = consumer._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        topic_partition = driver.ensure_aiokafka_TP(tp)
        if assignment is None or topic_partition not in assignment.tps:
            return None
        state = assignment.state_value(topic_partition)
        if state is None or state.highwater is None or not state.has_valid_position:
            return None
        return state.position, state.highwater, state.timestamp

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Mends false alarms: it compares a wall clock with a monotonic one. Partitions has a watchdog that acts."""


class Consumer(driver.Consumer):
    """Delivers each fetched batch of a partition as one Faust event, and commits exactly what was handled."""

    transport: Transport
    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = Ledger()
        self.epoch = 0
        """Changes whenever the flow stops or resumes, so that a fetch knows it was overtaken."""
        self._held: set[TP] = set()
        self._fetchable = asyncio.Event()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- fetching

    async def _drain_messages(self, fetcher: Any) -> None:
        """Mends, beside the cost per message: a hidden second of sleep when every partition is held back, gaps that
        count as acknowledged, and errors that leave the fetcher dead and the process running."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow.wait())
                    continue
                async for _tp, message in self.getmany():
                    await self.wait_first(self.callback(message), self.suspend_flow.wait())
        except asyncio.CancelledError:
            if not (self.should_stop or self.app.should_stop or fetcher.should_stop):
                self.transport.fail(RuntimeError("the fetcher was cancelled"))
            raise
        except Exception as error:
            if not self.app.should_stop:
                self.transport.fail(error)
            raise

    async def getmany(self, timeout: float = _FETCH_TIMEOUT_S) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message per partition and fetch, carrying the batch."""
        partitions = frozenset(self._active_partitions - self._held)
        if not partitions:
            self._fetchable.clear()
            await self.wait_first(self._fetchable.wait(), asyncio.sleep(timeout))
            return
        epoch = self.epoch
        # While something is held back, look again soon: a fetch under way does not learn that it was released.
        timeout_s = _HELD_TIMEOUT_S if self._held else timeout
        generation, fetched = await self._thread.call_thread(self._thread.fetch, epoch, partitions, timeout_s)
        for tp, records in fetched.items():
            if epoch != self.epoch:
                return  # A revoke or the end follows: the next owner starts from the committed offset.
            batch = Batch(tp.topic, tp.partition, tuple(_record(record) for record in records), generation)
            self.ledger.delivered(tp, first=batch.first, last=batch.last)
            yield tp, _message(tp, batch)

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: the stream's queue blocks the fetcher by itself, and `hold` bounds each partition."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, see on_buffer_full."""

    def hold(self, tp: TP) -> None:
        """Fetch no more of this partition until `release`."""
        self._held.add(tp)

    def release(self, tp: TP) -> None:
        """Fetch it again."""
        if tp in self._held:
            self._held.discard(tp)
            self._fetchable.set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        super().resume_partitions(tps)
        self._fetchable.set()

    def stop_flow(self) -> None:
        self.epoch += 1
        super().stop_flow()

    def resume_flow(self) -> None:
        self.epoch += 1
        super().resume_flow()

    async def perform_seek(self) -> None:
        """Mends a seek that skips partitions without a commit: a new assignment starts at what was committed."""

    def progress(self, tp: TP) -> tuple[int, int, int] | None:
        """See ConsumerThread.progress."""
        return self._thread.progress(tp)

    # -- committing

    def finished(self, batch: Batch) -> None:
        """The handler of this batch returned."""
        self.ledger.finished(TP(batch.topic, batch.partition), last=batch.last)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Mends commits that pass a batch in flight or stop at a hole, and that do not wait for the producer."""
        offsets = self.ledger.committable()
        if not offsets or self.transport.failed:
            return False
        await self.transport.options.producer.flush()
        if not await self._thread.call_thread(self._thread.commit_offsets, offsets):
            return False
        self.ledger.committed(offsets)
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Mends acknowledgements forgotten before the last commit, and a wait without end for a slow agent."""
        self.transport.rebalancing_since = time.monotonic()
        self.stop_flow()
        await self._settle()
        await super().on_partitions_revoked(revoked)
        self.ledger.forget()
        self._held.clear()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Mends an expelled member that goes on as if nothing had happened."""
        self.transport.rebalancing_since = None
        if (wrong := self._thread.check_membership()) is not None:
            self.transport.fail(RuntimeError(wrong))
        for partitions in self.transport.partitions.values():
            mine = {tp.partition for tp in assigned if tp.topic == partitions.topic}
            await partitions.assign(mine, generation=generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def wait_empty(self) -> None:
        """Mends a wait for acknowledgements that polls once a second."""
        await self._settle()

    async def end(self) -> None:
        """Take no more, finish what runs, commit it: what a clean stop does first."""
        self.stop_flow()
        await self._settle()

    def watch(self) -> None:
        """Fail if this member is dead without a word."""
        if (wrong := self._thread.check_membership()) is not None:
            self.transport.fail(RuntimeError(wrong))

    async def _settle(self) -> None:
        """Wait for handlers that run, within their bound, then commit what has been handled."""
        drains = [partitions.drain() for partitions in self.transport.partitions.values()]
        if drains:
            await asyncio.gather(*drains)
        try:
            await self.commit()
        except Exception as error:  # noqa: BLE001 (whatever it is, it ends the process)
            self.transport.fail(error)

    async def on_task_error(self, exc: BaseException) -> None:
        """Mends an agent's failure that is logged and whose event counts as handled."""
        self.transport.fail(exc)


def _record(record: aiokafka.ConsumerRecord[Any, Any]) -> Record:
    return Record(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )


def _message(tp: TP, batch: Batch) -> ConsumerMessage:
    return ConsumerMessage(
        tp.topic,
        tp.partition,
        batch.last,
        batch.records[-1].timestamp_ms / 1000.0,
        0,
        None,
        None,
        batch,  # type: ignore[arg-type]
        None,
        0,
        0,
        tp,
        generation_id=batch.generation,
    )

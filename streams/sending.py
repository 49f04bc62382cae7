"""How records leave a process: through aiokafka's idempotent sender, which puts all that waits for a broker into one request.

One request at a time is under way to a broker; what comes meanwhile is the next one. So a broker, which is paid by the request, is
asked as often as it can answer and no more. It reaches into private parts of aiokafka, whose version is pinned, and
tests/streams/test_producer.py fails where they move. Each override names the fault that it mends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.structs import TopicPartition

from streams import reset
from streams.cluster import Cluster
from streams.partitioner import partition_of

log = logging.getLogger(__name__)

BATCH_BYTES = 512 * 1024
"""Of one partition in one request, unless a record alone is larger; below what every topic takes."""
_ACKS_ALL = -1
_UNCOMPRESSED = 0
_AGAIN_MS = 100
"""Between two attempts where a broker did not answer or has no such topic."""
_REQUEST_TIMEOUT_MS = 30_000
"""Until a connection that is silent is given up for a new one, and the same records go again."""
_CLOSE_S = 1.0


class Record(NamedTuple):
    """One record on its way to Kafka."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None
    """None: where its key belongs, or anywhere without one."""
    headers: Sequence[tuple[str, bytes]]
    timestamp_ms: int | None
    """None: now."""
    mark: Any
    """What it means to whoever sends it."""


Told = Callable[[Sequence[Record], int, int], None]
"""(records, partition, first offset): these stand there one behind the other, acknowledged by all in-sync replicas."""
Failed = Callable[[Sequence[Record], str], None]
"""These were not taken, and why; none where no record could go out. Nothing goes out after it has returned."""


class _Batch(MessageBatch):  # type: ignore[misc]
    """Records of one partition. Mends outcomes that are heard of a turn of the loop later, when more has gone out behind them."""

    def __init__(self, sending: Sending, place: TopicPartition, *, linger_s: float) -> None:
        # It is never given up for its age: our producer has a patience of its own.
        super().__init__(place, BatchBuilder(BATCH_BYTES, _UNCOMPRESSED), float("inf"), linger_s)
        self.records: list[Record] = []
        self._sending = sending

    def put(self, record: Record) -> bool:
        """Take the record; False where the batch has no room for it."""
        taken = self._builder.append(
            timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=list(record.headers)
        )
        if taken is not None:
            self.records.append(record)
        return taken is not None

    def done(self, base_offset: int, timestamp: int | None = None, log_start_offset: int | None = None) -> None:
        self._end()
        self._sending.told(self.records, self.tp.partition, base_offset)

    def failure(self, exception: BaseException) -> None:
        self._end()
        self._sending.fail(f"{self.tp.topic}: {exception}", self.records)

    def _end(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class _Queue(MessageAccumulator):  # type: ignore[misc]
    """What waits, by partition."""

    def __init__(self, sending: Sending, client: _Client, manager: TransactionManager, *, linger_ms: float) -> None:
        super().__init__(
            client.cluster, BATCH_BYTES, _UNCOMPRESSED, float("inf"), txn_manager=manager, linger_ms=linger_ms
        )
        self._sending = sending
        self._client = client
        self._asking: asyncio.TimerHandle | None = None

    def put(self, place: TopicPartition, record: Record) -> None:
        """Mends a full batch that is waited for: the next one stands behind it."""
        waiting = self._batches.get(place)
        if waiting and waiting[-1].put(record):
            return
        batch = _Batch(self._sending, place, linger_s=self._linger_time)
        batch.put(record)
        self._batches[place].append(batch)
        self._wakeup(self._waiter_future)

    def ask_no_more(self) -> None:
        """Leave open who leads what waits."""
        if self._asking is not None:
            self._asking.cancel()

    def drop(self) -> list[Record]:
        """Give back all that has not gone out."""
        dropped = [record for waiting in self._batches.values() for batch in waiting for record in batch.records]
        self._batches.clear()
        return dropped

    def drain_by_nodes(self, ignore_nodes: Any, muted_partitions: Collection[Any] = frozenset()) -> tuple[Any, bool]:
        """Mends records that go out though the process may not write any more, and questions without a pause for the leader of
        a partition that has none."""
        if self._batches:
            self._sending.look()
        nodes, is_unknown = super().drain_by_nodes(ignore_nodes, muted_partitions)
        if is_unknown and self._asking is None:
            self._asking = self._loop.call_later(_AGAIN_MS / 1000, self._ask)
        return nodes, False

    def reenqueue(self, batch: _Batch) -> None:
        """Mends what goes out again behind a failure."""
        if self._sending.failure:
            batch.failure(KafkaError(self._sending.failure))
        else:
            super().reenqueue(batch)

    def _ask(self) -> None:
        self._asking = None
        self._client.force_metadata_update().add_done_callback(lambda _: self._wakeup(self._waiter_future))


class _Client(AIOKafkaClient):  # type: ignore[misc]
    """Mends the end of all sending when uvloop raises, see streams/reset.py."""

    async def send(self, *args: Any, **more: Any) -> Any:
        return await reset.sent(super().send, *args, **more)

    async def _metadata_update(self, *args: Any) -> bool:
        return await reset.asked(super()._metadata_update, *args)

    async def _maybe_wait_metadata(self) -> None:
        """Mends a wait without end for what a closed client will never hear."""
        if self._sync_task is not None:
            await super()._maybe_wait_metadata()


class Sending:
    """One connection for all of a process's writes. Create and use it inside one running event loop."""

    failure: str = ""
    """Why nothing goes out any more."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        client_id: str,
        linger_ms: float,
        told: Told,
        failed: Failed,
        guard: Callable[[], None],
    ) -> None:
        """Connect behind this call. `guard` runs before anything goes out; if it raises, neither that nor anything later does."""
        self.told = told
        self._failed = failed
        self._guard = guard
        self._client = _Client(
            bootstrap_servers=cluster.bootstrap,
            client_id=client_id,
            retry_backoff_ms=_AGAIN_MS,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            **cluster.security.aiokafka(),
        )
        manager = TransactionManager(None, 0)
        self._queue = _Queue(self, self._client, manager, linger_ms=linger_ms)
        self._sender = Sender(
            self._client,
            acks=_ACKS_ALL,
            txn_manager=manager,
            message_accumulator=self._queue,
            retry_backoff_ms=_AGAIN_MS,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )
        self._unplaced: dict[str, list[Record]] = {}
        """By topic whose partitions are not known yet."""
        self._known: set[str] = set()
        """Topics that were asked for."""
        self._numbers: dict[str, list[int]] = {}
        """Each topic's partitions, which are as many for life."""
        self._learning: asyncio.Task[None] | None = None
        self._opening = asyncio.create_task(self._open(), name="producer-open")

    def put(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: Sequence[tuple[str, bytes]],
        timestamp_ms: int | None,
        mark: Any,
    ) -> None:
        """Send a record, behind all that was put before for its partition."""
        record = Record(topic, key, value, partition, headers, timestamp_ms, mark)
        if topic in self._unplaced or not self._place(record):
            self._unplaced.setdefault(topic, []).append(record)
            if self._learning is None or self._learning.done():
                self._learning = asyncio.create_task(self._learn(), name="producer-learn")

    def stop(self, why: str) -> list[Record]:
        """Send nothing more; returns what has not gone out. What is under way may still arrive."""
        self.failure = self.failure or why
        dropped = [record for waiting in self._unplaced.values() for record in waiting]
        self._unplaced.clear()
        return dropped + self._queue.drop()

    def fail(self, why: str, records: Sequence[Record] = ()) -> None:
        """Let nothing more out, and say that these were not taken."""
        self.failure = self.failure or why
        self._failed(records, why)

    def look(self) -> None:
        """Ask whether this process may still write."""
        try:
            self._guard()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may go out
            self.fail(f"not handed over: {error}")

    async def close(self) -> None:
        """Close the connection, whatever is under way."""
        self._queue.ask_no_more()
        for task in (self._opening, self._learning):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        # A connection whose other end reads nothing would be waited for without end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._client.close()
                with contextlib.suppress(KafkaError):
                    await self._sender.close()

    async def _open(self) -> None:
        said = ""
        while True:
            try:
                await self._client.bootstrap()
                break
            except (KafkaError, RuntimeError, TimeoutError) as error:
                if (says := f"{error}") != said:
                    log.warning("kafka.unreachable error=%s", says)
                    said = says
                await asyncio.sleep(_AGAIN_MS / 1000)
        try:
            await self._sender.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing can go out
            self.fail(f"Kafka does not let us write: {error!r}")
            return
        self._sender.sender_task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(f"sending ended: {error!r}")

    def _place(self, record: Record) -> bool:
        """Queue it where it belongs; False where that is not known."""
        numbers = self._numbers.get(record.topic)
        if numbers is None:
            return False
        number = record.partition
        if number is None:
            key = record.key
            number = random.choice(numbers) if key is None else partition_of(key, len(numbers))  # noqa: S311
        elif number not in numbers:
            self.fail(f"{record.topic}: there is no partition {number}", [record])
            return True
        self._queue.put(TopicPartition(record.topic, number), record)
        return True

    async def _learn(self) -> None:
        """Ask for partitions until those of all topics are known that records wait for."""
        await asyncio.shield(self._opening)
        while self._unplaced:
            self._known |= self._unplaced.keys()
            await self._client.set_topics(self._known)
            for topic in list(self._unplaced):
                if topic in self._client.cluster.unauthorized_topics:
                    self.fail(f"{topic}: not allowed", self._unplaced.pop(topic))
                elif numbers := self._client.cluster.partitions_for_topic(topic):
                    self._numbers[topic] = sorted(numbers)
                    for record in self._unplaced.pop(topic):
                        self._place(record)
            if self._unplaced and self._unplaced.keys() <= self._known:
                await asyncio.sleep(_AGAIN_MS / 1000)

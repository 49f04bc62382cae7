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
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.produce import ProduceRequest
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
_CLOSE_S = 1.0


class Outgoing(NamedTuple):
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


Told = Callable[[Sequence[Outgoing], int, int], None]
"""(records, partition, first offset): these stand there one behind the other, acknowledged by all in-sync replicas."""
Failed = Callable[[Sequence[Outgoing], str], None]
"""These were not taken, and why; none where no record could go out. It calls `stop`, and no request is begun after it."""


class _Batch(MessageBatch):  # type: ignore[misc]
    """Records of one partition. Mends outcomes that are heard of a turn of the loop later, when more has gone out behind them."""

    def __init__(self, sending: Sending, place: TopicPartition, *, linger_s: float) -> None:
        # It is never given up for its age: our producer has a patience of its own.
        super().__init__(place, BatchBuilder(BATCH_BYTES, _UNCOMPRESSED), float("inf"), linger_s)
        self.records: list[Outgoing] = []
        self._sending = sending

    def put(self, record: Outgoing) -> bool:
        """Take the record; False where the batch has no room for it."""
        taken = self._builder.append(
            timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=list(record.headers)
        )
        if taken is not None:
            self.records.append(record)
        return taken is not None

    def done(self, base_offset: int, timestamp: int | None = None, log_start_offset: int | None = None) -> None:
        if base_offset < 0:
            # Kafka has them and no longer knows where: with one request under way that cannot be.
            self.failure(KafkaError("acknowledged, and nobody knows where"))
            return
        self._end()
        self._sending.told(self.records, self.tp.partition, base_offset)

    def failure(self, exception: BaseException) -> None:
        self._end()
        self._sending.failed(self.records, f"{self.tp.topic}: {exception}")

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

    def put(self, place: TopicPartition, record: Outgoing) -> None:
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

    def drop(self) -> list[Outgoing]:
        """Give back all that has not gone out."""
        dropped = [record for waiting in self._batches.values() for batch in waiting for record in batch.records]
        self._batches.clear()
        return dropped

    def drain_by_nodes(self, ignore_nodes: Any, muted_partitions: Collection[Any] = frozenset()) -> tuple[Any, bool]:
        """Mends questions without a pause for the leader of a partition that has none."""
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

    def fail_all(self, exception: BaseException) -> None:
        """Mends a walk through what changes meanwhile: the first failure gives back all that waits."""
        self._exception = exception
        self._sending.failed((), f"sending ended: {exception!r}")
        for batch in list(self._pending_batches):
            batch.failure(exception)

    def _ask(self) -> None:
        self._asking = None
        self._client.force_metadata_update().add_done_callback(lambda _: self._wakeup(self._waiter_future))


class _Client(AIOKafkaClient):  # type: ignore[misc]
    """Our connections."""

    def __init__(self, sending: Sending, **settings: Any) -> None:
        super().__init__(**settings)
        self._sending = sending
        self._is_closed = False

    async def send(self, node_id: Any, request: Any, **more: Any) -> Any:
        """Mends records that go out though the process may not write any more, or behind a failure."""
        if isinstance(request, ProduceRequest):
            await self.ready(node_id)
            if why := self._sending.look():
                raise KafkaConnectionError(why)
        return await super().send(node_id, request, **more)

    async def _get_conn(self, *args: Any, **more: Any) -> Any:
        """Mends a connection that is made while the client closes, and stays."""
        connection = await super()._get_conn(*args, **more)
        if self._is_closed and connection is not None:
            connection.close()
            return None
        return connection

    async def close(self) -> None:
        self._is_closed = True
        await super().close()

    def force_metadata_update(self) -> Any:
        """Mends a question that waits for minutes where one that is older is under way."""
        if not self._md_update_waiter.done():
            self._md_update_waiter.set_result(None)
        return super().force_metadata_update()

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
        request_timeout_ms: int,
        told: Told,
        failed: Failed,
        guard: Callable[[], None],
    ) -> None:
        """Connect behind this call. `guard` runs before anything goes out; if it raises, neither that nor anything later does.

        `request_timeout_ms`: until a connection that is silent is given up for a new one, and the same records go again.
        """
        self.told = told
        self.failed = failed
        self._guard = guard
        self._client = _Client(
            self,
            bootstrap_servers=cluster.bootstrap,
            client_id=client_id,
            retry_backoff_ms=_AGAIN_MS,
            request_timeout_ms=request_timeout_ms,
            **cluster.security.aiokafka(),
        )
        reset.mend(self._client)
        manager = TransactionManager(None, 0)
        self._queue = _Queue(self, self._client, manager, linger_ms=linger_ms)
        self._sender = Sender(
            self._client,
            acks=_ACKS_ALL,
            txn_manager=manager,
            message_accumulator=self._queue,
            retry_backoff_ms=_AGAIN_MS,
            request_timeout_ms=request_timeout_ms,
        )
        self._unplaced: dict[str, deque[Outgoing]] = {}
        """By topic whose partitions are not known yet."""
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
        record = Outgoing(topic, key, value, partition, headers, timestamp_ms, mark)
        if topic in self._unplaced or not self._place(record):
            self._unplaced.setdefault(topic, deque()).append(record)
            if self._learning is None or self._learning.done():
                self._learning = asyncio.create_task(self._learn(), name="producer-learn")

    def stop(self, why: str) -> list[Outgoing]:
        """Send nothing more; returns what has not gone out. What is under way may still arrive."""
        self.failure = why
        dropped = [record for waiting in self._unplaced.values() for record in waiting]
        self._unplaced.clear()
        return dropped + self._queue.drop()

    def look(self) -> str:
        """Say why nothing may go out; nothing where it may."""
        if not self.failure:
            try:
                self._guard()
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing may go out
                self.failed((), f"not handed over: {error}")
        return self.failure

    async def close(self) -> None:
        """Close the connection, whatever is under way."""
        self._queue.ask_no_more()
        if not self.failure:
            # Cut off in its middle it leaves a connection open: of a command that has nothing to write.
            await asyncio.wait([self._opening], timeout=_CLOSE_S)
        tasks = [task for task in (self._opening, self._learning) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for close in (self._client.close, self._sender.close):
            # A connection whose other end reads nothing would be waited for without end.
            with contextlib.suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(_CLOSE_S):
                    await close()

    async def _open(self) -> None:
        said = ""
        try:
            while True:
                try:
                    await self._client.bootstrap()
                    break
                except (OSError, KafkaError, RuntimeError, TimeoutError) as error:
                    if (says := f"{error}") != said:
                        log.warning("kafka.unreachable error=%s", says)
                        said = says
                    await asyncio.sleep(_AGAIN_MS / 1000)
            self._client._sync_task.add_done_callback(self._ended)
            await self._sender.start()
            self._sender.sender_task.add_done_callback(self._ended)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing can go out
            self.failed((), f"Kafka does not let us write: {error!r}")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed((), f"sending ended: {error!r}")

    def _place(self, record: Outgoing, *, asked: bool = False) -> bool:
        """Queue it where it belongs; False where that is not known, and has not just been asked for."""
        numbers = self._numbers.get(record.topic)
        number = record.partition
        if numbers is None or (number is not None and number not in numbers and not asked):
            return False
        try:
            if number is None:
                key = record.key
                number = random.choice(numbers) if key is None else partition_of(key, len(numbers))  # noqa: S311
            elif number not in numbers:
                raise LookupError(f"there is no partition {number}")
            self._queue.put(TopicPartition(record.topic, number), record)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, nothing goes out behind it
            self.failed([record], f"{record.topic}: {error}")
        return True

    async def _learn(self) -> None:
        """Ask for partitions until those of all topics are known that records wait for."""
        await asyncio.shield(self._opening)
        while self._unplaced and not self.failure:
            self._client.set_topics(self._numbers.keys() | self._unplaced.keys())
            await self._client.force_metadata_update()
            for topic in list(self._unplaced):
                self._learned(topic)
            if self._unplaced:
                await asyncio.sleep(_AGAIN_MS / 1000)

    def _learned(self, topic: str) -> None:
        """Queue what waits for this topic, if its partitions are known now."""
        if topic in self._client.cluster.unauthorized_topics:
            self.failed((), f"{topic}: not allowed")
        elif numbers := self._client.cluster.partitions_for_topic(topic):
            self._numbers[topic] = sorted(numbers)
            waiting = self._unplaced[topic]
            while waiting and not self.failure:
                self._place(waiting.popleft(), asked=True)
            if not self.failure:
                del self._unplaced[topic]

"""Writes to Kafka through librdkafka: idempotent, bounded, keyed by murmur2.

Never drops a failed delivery in silence: the record's future fails, and `on_failure` hears of it. After the first
failure nothing that waited behind it is sent: a reader would take the later record for proof of the earlier one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial as bind
from typing import NamedTuple

import confluent_kafka

from streams.cluster import Cluster
from streams.metrics import PRODUCE_S

log = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_POLL_S = 0.1
"""The longest that the listening thread waits at a time: what `close` may have to wait for it."""
_LOOK_EVERY_S = 0.05
"""Between looks for records that Kafka has not taken for too long."""
_LIBRARY_TIMEOUT_MS = 120_000
"""librdkafka's own timeout gives up one record after the other and sends those between before we hear of it. A process
that was stopped while its records waited would meet it: so it comes long after ours, which gives up all at once."""
_RECORD_OVERHEAD_BYTES = 256
"""What a queued record costs beside its key and value, roughly."""


class Delivered(NamedTuple):
    """Where a record came to stand, acknowledged by all in-sync replicas."""

    topic: str
    partition: int
    offset: int


class _Report(NamedTuple):
    """One delivery report, on its way from librdkafka's callback to the loop."""

    future: asyncio.Future[Delivered]
    epoch: int
    size: int
    delivered: Delivered | DeliveryFailed


class _Record(NamedTuple):
    """One record on its way to librdkafka."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int
    headers: Sequence[tuple[str, bytes]]
    timestamp_ms: int
    future: asyncio.Future[Delivered]
    epoch: int
    size: int


class DeliveryFailed(Exception):
    """Kafka did not take a record within the delivery timeout, or refused it."""


def _place(topic: str, message: confluent_kafka.Message) -> Delivered:
    return Delivered(topic, message.partition(), message.offset())  # type: ignore[arg-type]


class Producer:
    """One connection for all of a process's writes. Create and use it inside one running event loop."""

    failure: DeliveryFailed | None
    """The first failed delivery, or None."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        client_id: str = "oo",
        linger_ms: float = 0,
        compression: str = "none",
        delivery_timeout_ms: int = 6_000,
        pending_max: int = 20_000,
        pending_bytes_max: int = 64 * 1024 * 1024,
        on_failure: Callable[[DeliveryFailed], None] | None = None,
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Open the client; nothing is sent yet.

        `delivery_timeout_ms` stays below the consumer's session timeout, so that a worker that Kafka does not hear
        gives up before its partitions go elsewhere. `guard` runs before records are handed over; if it raises, none of
        them nor any later one goes out (see streams/watchdog.py).
        """
        self.failure = None
        self.on_failure = on_failure
        self.guard = guard
        self._pending_max = pending_max
        self._pending_bytes_max = pending_bytes_max
        self._pending = 0
        self._pending_bytes = 0
        # Records not yet acknowledged, by the flush they belong to: a flush waits for its own and earlier ones
        # only, so that it ends under steady load.
        self._epoch = 0
        self._pending_by_epoch: dict[int, int] = {}
        # When each record not yet acknowledged was produced, oldest first.
        self._since_s: OrderedDict[asyncio.Future[Delivered], float] = OrderedDict()
        self._patience_s = delivery_timeout_ms / 1000
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._waiters: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()
        self._busy = asyncio.Event()
        # What this turn of the loop has produced.
        self._produced: list[_Record] = []
        # What librdkafka has reported and the loop has not yet taken.
        self._reports: deque[_Report] = deque()
        self._told = False
        self._closing = False
        self._client = confluent_kafka.Producer(
            {
                "client.id": client_id,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": linger_ms,
                "compression.type": compression,
                "delivery.timeout.ms": _LIBRARY_TIMEOUT_MS,
                "message.max.bytes": MESSAGE_BYTES_MAX,
                # Ours are the bounds that count; librdkafka's only must not come first.
                "queue.buffering.max.messages": max(100_000, 4 * pending_max),
                "queue.buffering.max.kbytes": max(1_048_576, 4 * pending_bytes_max // 1024),
                "socket.nagle.disable": True,
                "error_cb": self._on_error,
                **cluster.rdkafka(),
            },
            logger=logging.getLogger("librdkafka"),
        )
        self._watch_task = asyncio.create_task(self._watch(), name="producer-watch")
        self._listener = threading.Thread(target=self._listen, name="producer-listen", daemon=True)
        self._listener.start()

    def produce(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int | None = None,
    ) -> asyncio.Future[Delivered]:
        """Queue one record; the future resolves once it is acknowledged, or fails with DeliveryFailed.

        Returning does not mean delivered. The future may be dropped: `flush` and `on_failure` still cover it.
        Raises BufferError past the hard bound (twice the room): await `room` first.
        """
        if self._pending >= 2 * self._pending_max or self._pending_bytes >= 2 * self._pending_bytes_max:
            raise BufferError(f"{self._pending} records wait for Kafka: await room() before producing more")
        future: asyncio.Future[Delivered] = self._loop.create_future()
        if self.failure is not None:
            future.set_exception(self.failure)
            future.exception()  # Whoever produced what failed first has been told.
            return future
        epoch = self._epoch
        size = (len(key) if key else 0) + (len(value) if value else 0) + _RECORD_OVERHEAD_BYTES
        self._pending += 1
        self._pending_bytes += size
        self._pending_by_epoch[epoch] = self._pending_by_epoch.get(epoch, 0) + 1
        self._since_s[future] = self._loop.time()
        if not self._produced:
            self._loop.call_soon(self._hand_over)
        place = -1 if partition is None else partition
        self._produced.append(_Record(topic, key, value, place, headers, timestamp_ms or 0, future, epoch, size))
        if not self._busy.is_set():
            self._busy.set()
        return future

    def _hand_over(self) -> None:
        # All that one turn of the loop produced: librdkafka's thread wakes once for many, and they share batches.
        records, self._produced = self._produced, []
        if self.guard is not None:
            try:
                self.guard()
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing may go out
                self._give_up(DeliveryFailed(f"not handed over: {error}"))
        for record in records:
            failure = self.failure or self._refused(record)
            if failure is not None:
                self._complete(record.future, record.epoch, record.size)
                self._fail(record.future, failure)

    def _refused(self, record: _Record) -> DeliveryFailed | None:
        # Hands it to librdkafka, which may not take it.
        topic, key, value, partition, headers, timestamp_ms, future, epoch, size = record
        told = bind(self._on_delivery, future, epoch, size, topic)
        try:
            self._client.produce(
                topic, value, key, partition, told, timestamp=timestamp_ms, headers=list(headers) or None
            )
        except confluent_kafka.KafkaException as refused:  # too large for the client, an unknown partition
            return DeliveryFailed(f"{topic}: {refused.args[0]}")
        return None

    async def room(self) -> None:
        """Wait until there is room for more (back pressure): call it before each burst."""
        while not self._has_room():
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def acknowledged(self) -> asyncio.Future[None]:
        """Done when all that was produced before this call is acknowledged; fails with DeliveryFailed once any has failed."""
        epoch = self._epoch
        self._epoch += 1
        flushed: asyncio.Future[None] = self._loop.create_future()
        self._flushes.append((epoch, flushed))
        self._wake_waiters()
        return flushed

    async def flush(self) -> None:
        """Wait for `acknowledged`."""
        await self.acknowledged()

    async def close(self) -> None:
        """Wait for what is pending, then close; after a failure at once. It has been reported and is not raised again."""
        with contextlib.suppress(DeliveryFailed):
            await self.flush()
        if self.failure is not None:
            # Else closing waits for a broker that may never answer.
            self._client.purge(in_queue=True, in_flight=True, blocking=False)
        self._watch_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch_task
        self._closing = True
        await asyncio.to_thread(self._listener.join)
        self._client.close()

    @property
    def pending(self) -> int:
        """Records not yet acknowledged."""
        return self._pending

    def _has_room(self) -> bool:
        # After a failure nothing is taken any more, and nobody has to wait to hear that.
        return self.failure is not None or (
            self._pending < self._pending_max and self._pending_bytes < self._pending_bytes_max
        )

    def _completed(self, epoch: int) -> bool:
        return self.failure is not None or not any(pending <= epoch for pending in self._pending_by_epoch)

    def _complete(self, future: asyncio.Future[Delivered], epoch: int, size: int) -> None:
        PRODUCE_S.add(self._loop.time() - self._since_s.pop(future))
        self._pending -= 1
        self._pending_bytes -= size
        left = self._pending_by_epoch[epoch] - 1
        if left:
            self._pending_by_epoch[epoch] = left
        else:
            del self._pending_by_epoch[epoch]

    def _listen(self) -> None:
        # In a thread of its own: librdkafka has no file descriptor to wait on here, and looking once a millisecond
        # costs half of one per acknowledgement. The loop is told once for all that one poll has brought.
        while not (self._closing or self._loop.is_closed()):
            self._client.poll(_POLL_S)

    def _on_delivery(
        self,
        future: asyncio.Future[Delivered],
        epoch: int,
        size: int,
        topic: str,
        error: confluent_kafka.KafkaError | None,
        message: confluent_kafka.Message,
    ) -> None:
        # In the listening thread: it hands over, and changes nothing.
        delivered = DeliveryFailed(f"{topic}: {error}") if error is not None else _place(topic, message)
        self._reports.append(_Report(future, epoch, size, delivered))
        if not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._take_reports)

    def _take_reports(self) -> None:
        self._told = False
        while self._reports:
            future, epoch, size, delivered = self._reports.popleft()
            self._complete(future, epoch, size)
            if isinstance(delivered, DeliveryFailed):
                self._fail(future, delivered)
            elif not future.done():
                future.set_result(delivered)
        self._wake_waiters()

    def _fail(self, future: asyncio.Future[Delivered], failure: DeliveryFailed) -> None:
        if not future.done():
            future.set_exception(failure)
            future.exception()  # Reported below: asyncio need not complain of a dropped future as well.
        self._give_up(failure)

    def _give_up(self, failure: DeliveryFailed) -> None:
        """The first failure counts."""
        if self.failure is not None:
            return
        log.error("delivery.failed error=%s pending=%d", failure, self._pending)
        self.failure = failure
        # What is in flight may have arrived, in order; what only waits must not arrive without it.
        self._client.purge(in_queue=True, in_flight=False, blocking=False)
        if self.on_failure is not None:
            self.on_failure(failure)
        self._wake_waiters()

    def _on_error(self, error: confluent_kafka.KafkaError) -> None:
        if error.fatal():
            self._loop.call_soon_threadsafe(self._give_up, DeliveryFailed(str(error)))
        else:
            log.warning("kafka.error error=%s", error)

    def _give_up_late(self) -> None:
        future, since_s = next(iter(self._since_s.items()))
        if self._loop.time() - since_s > self._patience_s:
            self._fail(future, DeliveryFailed(f"Kafka acknowledged nothing for {self._patience_s:g} s"))

    def _wake_waiters(self) -> None:
        # In the order of their epochs: what is not complete keeps those behind it waiting.
        while self._flushes and self._completed(self._flushes[0][0]):
            _, flushed = self._flushes.popleft()
            if flushed.done():
                continue
            if self.failure is None:
                flushed.set_result(None)
            else:
                flushed.set_exception(self.failure)
                flushed.exception()  # Reported already: asyncio need not complain where nobody waits any more.
        if self._waiters and self._has_room():
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def _watch(self) -> None:
        while True:
            if self._since_s and self.failure is None:
                self._give_up_late()
            if self._pending:
                await asyncio.sleep(_LOOK_EVERY_S)
            else:
                self._busy.clear()
                await self._busy.wait()

"""Writes to Kafka: idempotent, bounded, keyed by murmur2.

Never drops a failed delivery in silence: the record's future fails, and `on_failure` hears of it. After the first
failure nothing that waited behind it is sent: a reader would take the later record for proof of the earlier one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from streams.cluster import Cluster
from streams.metrics import PRODUCE_S

if TYPE_CHECKING:
    from streams.sending import Outgoing

log = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_LOOK_EVERY_S = 0.05
"""Between looks for records that Kafka has not taken for too long."""
_RECORD_OVERHEAD_BYTES = 256
"""What a queued record costs beside its key and value, roughly."""


class Delivered(NamedTuple):
    """Where a record came to stand, acknowledged by all in-sync replicas."""

    topic: str
    partition: int
    offset: int


class _Mark(NamedTuple):
    """Whom a record is to be told of, and what it counts for until then."""

    future: asyncio.Future[Delivered]
    epoch: int
    size: int


class DeliveryFailed(Exception):
    """Kafka did not take a record within the delivery timeout, or refused it."""


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
        delivery_timeout_ms: int = 6_000,
        pending_max: int = 20_000,
        pending_bytes_max: int = 64 * 1024 * 1024,
        on_failure: Callable[[DeliveryFailed], None] | None = None,
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Open the client, which connects behind this call; no record is sent yet.

        `delivery_timeout_ms` stays below the consumer's session timeout, so that a worker that Kafka does not hear
        gives up before its partitions go elsewhere. `guard` runs before records go out; if it raises, none of
        them nor any later one does (see streams/watchdog.py).
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
        # Here: whoever catches what a producer raises and sends nothing need not import a client.
        from streams.sending import Sending

        self._sending = Sending(
            cluster,
            client_id=client_id,
            linger_ms=linger_ms,
            request_timeout_ms=delivery_timeout_ms // 2,
            told=self._told,
            failed=self._failed,
            guard=self._look,
        )
        self._watch_task = asyncio.create_task(self._watch(), name="producer-watch")

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
        size = (len(key) if key else 0) + (len(value) if value else 0) + _RECORD_OVERHEAD_BYTES
        if size > MESSAGE_BYTES_MAX:
            self._give_up(DeliveryFailed(f"{topic}: a record of {size} bytes; the most is {MESSAGE_BYTES_MAX}"))
        future: asyncio.Future[Delivered] = self._loop.create_future()
        if self.failure is not None:
            future.set_exception(self.failure)
            future.exception()  # Whoever produced what failed first has been told.
            return future
        epoch = self._epoch
        self._pending += 1
        self._pending_bytes += size
        self._pending_by_epoch[epoch] = self._pending_by_epoch.get(epoch, 0) + 1
        self._since_s[future] = self._loop.time()
        if not self._busy.is_set():
            self._busy.set()
        self._sending.put(topic, key, value, partition, headers, timestamp_ms, _Mark(future, epoch, size))
        return future

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
        self._watch_task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch_task
        await self._sending.close()

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

    def _complete(self, records: Sequence[Outgoing]) -> None:
        now_s = self._loop.time()
        for record in records:
            future, epoch, size = record.mark
            if (since_s := self._since_s.pop(future, None)) is None:
                continue
            PRODUCE_S.add(now_s - since_s)
            self._pending -= 1
            self._pending_bytes -= size
            left = self._pending_by_epoch[epoch] - 1
            if left:
                self._pending_by_epoch[epoch] = left
            else:
                del self._pending_by_epoch[epoch]

    def _told(self, records: Sequence[Outgoing], partition: int, first: int) -> None:
        self._complete(records)
        for offset, record in enumerate(records, first):
            future = record.mark.future
            if not future.done():
                future.set_result(Delivered(record.topic, partition, offset))
        self._wake_waiters()

    def _failed(self, records: Sequence[Outgoing], why: str) -> None:
        self._give_up(DeliveryFailed(why))
        self._complete(records)

    def _look(self) -> None:
        if self.guard is not None:
            self.guard()

    def _give_up(self, failure: DeliveryFailed) -> None:
        """The first failure counts."""
        if self.failure is not None:
            return
        log.error("delivery.failed error=%s pending=%d", failure, self._pending)
        self.failure = failure
        # What is under way may have arrived, in order; what only waits must not arrive without it.
        dropped = self._sending.stop(str(failure))
        for future in self._since_s:
            if not future.done():
                future.set_exception(failure)
                future.exception()  # Reported below: asyncio need not complain of a dropped future as well.
        self._complete(dropped)
        if self.on_failure is not None:
            self.on_failure(failure)
        self._wake_waiters()

    def _give_up_late(self) -> None:
        since_s = next(iter(self._since_s.values()))
        if self._loop.time() - since_s > self._patience_s:
            self._give_up(DeliveryFailed(f"Kafka acknowledged nothing for {self._patience_s:g} s"))

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

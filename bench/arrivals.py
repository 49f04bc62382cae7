"""What a latency is measured with: a writer, and watches on what arrives. All cheap, so that they are not what is measured."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import confluent_kafka
from aiokafka import AIOKafkaConsumer

from bench.bare import FETCH_WAIT_MS, librdkafka_records


@dataclass(slots=True)
class Stopwatch:
    """Seconds of `time.perf_counter`, by name, whichever comes first."""

    acknowledged: dict[str, float] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)

    def clear(self) -> None:
        self.acknowledged = {}
        self.arrived = {}


class Writer:
    """One plain librdkafka producer; a record is acknowledged when its delivery report comes."""

    def __init__(self, bootstrap: str) -> None:
        self._client = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
                "partitioner": "murmur2_random",
                "socket.nagle.disable": True,
                "log_level": 0,
            }
        )
        self._closing = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def write(self, topic: str, name: str, value: bytes, watch: Stopwatch) -> None:
        """Send it; the time of its acknowledgement goes to the watch."""
        acknowledged = watch.acknowledged

        def reported(error: confluent_kafka.KafkaError | None, _: confluent_kafka.Message) -> None:
            assert error is None, error
            acknowledged[name] = time.perf_counter()

        self._client.produce(topic, value, name.encode(), on_delivery=reported)

    def close(self) -> None:
        self._client.flush(10)
        self._closing = True
        self._listener.join()

    def _listen(self) -> None:
        while not self._closing:
            self._client.poll(0.1)


class Announcements(asyncio.Protocol):
    """A connection to Valkey that hears every announcement of a tip, and reads no more of it than whose it is."""

    _CHANNEL = re.compile(rb"oo:tips:\{(bench-[0-9a-f]{32})\}")
    _OVERLAP = 64

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$9\r\noo:tips:*\r\n")

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        data = self._tail + data
        for found in self._CHANNEL.finditer(data):
            self._watch.arrived.setdefault(found[1].decode(), now_s)
        self._tail = data[-self._OVERLAP :]


class Stream(asyncio.Protocol):
    """One open stream of the edge: the time of the first decision after it was opened, a tip or that there is nothing worth saying."""

    def __init__(self, user: str, token: str, watch: Stopwatch) -> None:
        self._user = user
        self._token = token
        self._watch = watch
        self._heard = b""
        self._transport: asyncio.WriteTransport | None = None
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """The stream is open: what changes from now on comes through it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(
            f"GET /v1/tips/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self._token}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        self._heard += data
        # The state before the signal comes at once.
        if b"event: " in self._heard and not self.answered.done():
            assert b" 200 " in self._heard.split(b"\r\n", 1)[0], self._heard
            self.answered.set_result(None)
        if self._heard.count(b"event: ") > 1:
            self._watch.arrived.setdefault(self._user, now_s)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


@contextlib.asynccontextmanager
async def follow_aiokafka(bootstrap: str, topic: str, watch: Stopwatch) -> AsyncIterator[None]:
    """The last topic of a loop, read with aiokafka."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, fetch_max_wait_ms=FETCH_WAIT_MS, auto_offset_reset="earliest"
    )
    await consumer.start()

    async def follow() -> None:
        async for record in consumer:
            watch.arrived.setdefault((record.key or b"").decode(), time.perf_counter())

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await consumer.stop()


@contextlib.asynccontextmanager
async def follow_librdkafka(bootstrap: str, topic: str, watch: Stopwatch) -> AsyncIterator[None]:
    """The last topic of a loop, read with librdkafka in a thread of its own, which ends with this process."""

    def follow() -> None:
        for record in librdkafka_records(bootstrap, topic):
            if record is not None:
                watch.arrived.setdefault((record.key() or b"").decode(), time.perf_counter())

    threading.Thread(target=follow, daemon=True).start()
    yield

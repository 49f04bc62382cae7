"""Plugs our consumer and producer into Faust.

Never creates a topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.transport.producer import Producer as FaustProducer
from faust.transport.producer import ProducerBuffer
from faust.types import TP, RecordMetadata
from faust.types.tuples import FutureMessage
from yarl import URL

from streams.consumer import Consumer
from streams.producer import Delivered
from streams.run_state import RunState


class Transport(driver.Transport):
    """One app's way to Kafka."""

    Consumer = Consumer

    def __init__(self, url: list[URL], app: faust.App, run_state: RunState) -> None:
        super().__init__(url, app)
        self.run_state = run_state

    def create_producer(self, **kwargs: Any) -> _Sender:
        return _Sender(self, **kwargs)


class BatchTopic(faust.Topic):
    """A topic whose events carry a Batch as their value; nothing in it is decoded."""

    def _compile_decode(self) -> None:
        """Nothing to compile."""

    async def decode(self, message: Any, *, propagate: bool = False) -> Any:
        return self._create_event(None, message.value, None, message=message)


class NoTables(TableManager):
    """Faust's, without the second that it sleeps before each start: for tables to be declared, of which there are none."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class _Buffer(ProducerBuffer):
    """Mends `flush`, which gives up after a tenth of a second: nothing is ever buffered here."""

    producer: _Sender

    def put(self, fut: FutureMessage) -> None:
        message = fut.message
        self.producer.queue(
            message.channel.get_topic_name(),
            message.key,
            message.value,
            message.partition,
            message.timestamp,
            message.headers,
        )

    @property
    def size(self) -> int:
        return 0

    async def flush(self) -> None:
        """Nothing is buffered."""

    async def wait_until_ebb(self) -> None:
        await self.producer.client.room()


class _Sender(FaustProducer):
    """Faust's view of our producer, for what an app sends through Faust itself.

    Mends send errors that are only logged, and a producer that is idempotent only under exactly_once.
    """

    def __init__(self, transport: Transport, **kwargs: Any) -> None:
        super().__init__(transport, **kwargs)
        self.client = transport.run_state.producer
        self.buffer = _Buffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app
        self.buffer.producer = self

    def queue(
        self, topic: str, key: Any, value: Any, partition: int | None, timestamp: float | None, headers: Any
    ) -> asyncio.Future[Delivered]:
        """Produce one record in Faust's words."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        return self.client.produce(
            topic,
            key=key,
            value=value,
            partition=partition,
            headers=[(name, bytes(content)) for name, content in pairs],
            timestamp_ms=int(timestamp * 1000) if timestamp else None,
        )

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        await self.client.room()
        return asyncio.ensure_future(_metadata(self.queue(topic, key, value, partition, timestamp, headers), timestamp))

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def flush(self) -> None:
        await self.client.flush()

    def supports_headers(self) -> bool:
        return True


async def _metadata(delivery: asyncio.Future[Delivered], timestamp: float | None) -> RecordMetadata:
    delivered = await delivery
    return RecordMetadata(
        topic=delivered.topic,
        partition=delivered.partition,
        topic_partition=TP(delivered.topic, delivered.partition),
        offset=delivered.offset,
        timestamp=timestamp,
        timestamp_type=0,
    )

"""Reads topics without a consumer group: bounded for recovery, verify and replay, endless for policies.

Never commits, and never waits for an offset that is only a hole.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial as bind
from typing import Any, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from streams.record import Record
from streams.security import PLAINTEXT, Security

T = TypeVar("T")

CONSUMED_AT_ONCE = 5_000
_POLL_S = 0.1
_REQUEST_TIMEOUT_S = 15.0
_EARLIEST = OffsetSpec.earliest()
_LATEST = OffsetSpec.latest()


async def read_partition(
    bootstrap: str,
    topic: str,
    partition: int,
    *,
    start: int = 0,
    end: int | None = None,
    security: Security = PLAINTEXT,
) -> AsyncIterator[list[Record]]:
    """Yield the partition's records in [start, end) in large lists; `end` None means its end now.

    Starts at the oldest record where retention has taken `start`. Raises KafkaException when Kafka cannot be read.
    """
    async with _open(bootstrap, security) as (client, call):
        low, high = await call(
            bind(client.get_watermark_offsets, TopicPartition(topic, partition), timeout=_REQUEST_TIMEOUT_S)
        )
        stop = high if end is None else min(end, high)
        at = max(start, low)
        if at >= stop:
            return
        await call(bind(client.assign, [TopicPartition(topic, partition, at)]))
        while at < stop:
            records: list[Record] = []
            for message in await call(bind(client.consume, CONSUMED_AT_ONCE, _POLL_S)):
                # The end mark carries the next offset: past compacted records and transaction markers.
                offset = _checked_offset(message)
                at = offset if message.error() else offset + 1
                if not message.error() and offset < stop:
                    records.append(_record(message))
            if records:
                yield records


class Tail:
    """Follows all partitions of a topic from the beginning, for ever: `async for records in Tail(...)`.

    `caught_up` is set once the loop body has finished with everything that stood in the topic at the start.
    """

    def __init__(self, bootstrap: str, topic: str, *, security: Security = PLAINTEXT) -> None:
        self.caught_up = asyncio.Event()
        self._bootstrap = bootstrap
        self._topic = topic
        self._security = security

    async def __aiter__(self) -> AsyncIterator[list[Record]]:
        ends = await end_offsets(self._bootstrap, self._topic, security=self._security)
        behind = {partition for partition, end in ends.items() if end > 0}
        async with _open(self._bootstrap, self._security) as (client, call):
            await call(
                bind(client.assign, [TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in ends])
            )
            while True:
                if not behind:
                    self.caught_up.set()
                records: list[Record] = []
                for message in await call(bind(client.consume, CONSUMED_AT_ONCE, _POLL_S)):
                    offset = _checked_offset(message)
                    partition = message.partition()
                    assert partition is not None
                    if (offset if message.error() else offset + 1) >= ends[partition]:
                        behind.discard(partition)
                    if not message.error():
                        records.append(_record(message))
                if records:
                    yield records


class Follower:
    """Follows some partitions of a topic, without a group and for ever: `async for records in Follower(...)`.

    Partitions come and go while it runs. A record is yielded at most once while its partition stays.
    """

    def __init__(self, bootstrap: str, topic: str, *, security: Security = PLAINTEXT) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._security = security
        self._next: dict[int, int] = {}
        self._changed = asyncio.Event()

    def add(self, partition: int, *, start: int) -> None:
        """Follow this partition too, from this offset on."""
        self._next[partition] = start
        self._changed.set()

    def remove(self, partition: int) -> None:
        """Follow it no more."""
        self._next.pop(partition, None)
        self._changed.set()

    def next_offset(self, partition: int) -> int:
        """The offset up to which this partition has been yielded; 0 for one that is not followed."""
        return self._next.get(partition, 0)

    async def __aiter__(self) -> AsyncIterator[list[Record]]:
        async with _open(self._bootstrap, self._security) as (client, call):
            while True:
                if self._changed.is_set():
                    self._changed.clear()
                    places = [TopicPartition(self._topic, number, at) for number, at in self._next.items()]
                    await call(bind(client.assign, places))
                if not self._next:
                    await self._changed.wait()
                    continue
                records: list[Record] = []
                messages = await call(bind(client.consume, CONSUMED_AT_ONCE, _POLL_S))
                if self._changed.is_set():
                    continue  # Of a partition that has gone and come again: it is read from its start.
                for message in messages:
                    offset = _checked_offset(message)
                    partition = message.partition()
                    # What was fetched before a change may belong to a partition that has gone, or come again.
                    if message.error() or partition is None or offset < self._next.get(partition, offset + 1):
                        continue
                    self._next[partition] = offset + 1
                    records.append(_record(message))
                if records:
                    yield records


async def topic_ids(bootstrap: str, names: Sequence[str], *, security: Security = PLAINTEXT) -> dict[str, bytes]:
    """Kafka's 16-byte ids of the topics; a recreated topic has another. Raises KeyError for one that is missing."""
    admin = _admin(bootstrap, security)  # Kept in a name: its answers die with it.
    described = admin.describe_topics(TopicCollection(list(names)), request_timeout=_REQUEST_TIMEOUT_S)
    ids: dict[str, bytes] = {}
    for name, future in described.items():
        try:
            uuid = (await asyncio.wrap_future(future)).topic_id
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise KeyError(name) from error
            raise
        most, least = uuid.get_most_significant_bits(), uuid.get_least_significant_bits()
        ids[name] = most.to_bytes(8, "big", signed=True) + least.to_bytes(8, "big", signed=True)
    return ids


async def start_offsets(bootstrap: str, topic: str, *, security: Security = PLAINTEXT) -> dict[int, int]:
    """The oldest offset that each partition's log still has. Raises KeyError for a topic that is missing."""
    return await _offsets(bootstrap, topic, _EARLIEST, security)


async def end_offsets(bootstrap: str, topic: str, *, security: Security = PLAINTEXT) -> dict[int, int]:
    """High-water mark of each partition. Raises KeyError for a topic that is missing."""
    return await _offsets(bootstrap, topic, _LATEST, security)


async def _offsets(bootstrap: str, topic: str, which: OffsetSpec, security: Security) -> dict[int, int]:
    admin = _admin(bootstrap, security)
    wanted = {TopicPartition(topic, number): which for number in await _partitions(admin, topic)}
    deadline_s = time.monotonic() + _REQUEST_TIMEOUT_S
    while True:
        found = admin.list_offsets(wanted, request_timeout=_REQUEST_TIMEOUT_S)
        try:
            return {at.partition: (await asyncio.wrap_future(future)).offset for at, future in found.items()}
        except KafkaException as refused:
            # A partition just created, or just moved, has no leader for a moment.
            if time.monotonic() > deadline_s or not _passes(refused):
                raise
        await asyncio.sleep(_POLL_S)


async def committed(bootstrap: str, group: str, topic: str, *, security: Security = PLAINTEXT) -> dict[int, int | None]:
    """Committed offset of the group in each partition; None where it never committed."""
    admin = _admin(bootstrap, security)
    wanted = [TopicPartition(topic, number) for number in await _partitions(admin, topic)]
    offsets: dict[int, int | None] = dict.fromkeys(at.partition for at in wanted)
    deadline_s = time.monotonic() + _REQUEST_TIMEOUT_S
    while True:
        asked = admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, wanted)], request_timeout=_REQUEST_TIMEOUT_S
        )
        try:
            answer = await asyncio.wrap_future(asked[group])
        except KafkaException as refused:
            if refused.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return offsets
            # A broker that has just started reads its groups first.
            if time.monotonic() > deadline_s or not _passes(refused):
                raise
        else:
            return offsets | {at.partition: at.offset for at in answer.topic_partitions if at.offset >= 0}
        await asyncio.sleep(_POLL_S)


def _passes(error: KafkaException) -> bool:
    return error.args[0].code() in (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    )


def _admin(bootstrap: str, security: Security) -> AdminClient:
    # Warnings and worse: closing one prints a line that means nothing.
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 4, **security.rdkafka()})


async def _partitions(admin: AdminClient, topic: str) -> list[int]:
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=_REQUEST_TIMEOUT_S)
    try:
        answer = await asyncio.wrap_future(described[topic])
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KeyError(topic) from error
        raise
    return sorted(partition.id for partition in answer.partitions)


Call = Callable[[Callable[[], T]], asyncio.Future[T]]


def settings(bootstrap: str, security: Security) -> dict[str, Any]:
    """librdkafka's, for reading without a group."""
    return {
        "bootstrap.servers": bootstrap,
        # Required by the library; never joined and never committed to.
        "group.id": "oo-reader",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        # As the live consumer reads; a hanging transaction must not hide an end.
        "isolation.level": "read_uncommitted",
        "fetch.wait.max.ms": 50,
        "fetch.message.max.bytes": 4 * 1024 * 1024,
        **security.rdkafka(),
    }


@asynccontextmanager
async def _open(bootstrap: str, security: Security):  # type: ignore[no-untyped-def]
    """A client and a way to call it: its blocking calls run in one thread of its own, closing included."""
    client = Consumer(settings(bootstrap, security))
    thread = ThreadPoolExecutor(1, thread_name_prefix="reader")
    loop = asyncio.get_running_loop()
    try:
        yield client, bind(loop.run_in_executor, thread)
    finally:
        # Waits for a call that was cancelled midway: closing under it would crash the process.
        thread.submit(client.close)
        thread.shutdown(wait=True)


def _checked_offset(message: Message) -> int:
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 (its public name)
        raise KafkaException(error)
    offset = message.offset()
    assert offset is not None
    return offset


def _record(message: Message) -> Record:
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(message.headers() or ()),  # type: ignore[arg-type]
    )

"""The producer on a real broker: where records go, how it holds back, and how it fails."""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from aiokafka.partitioner import DefaultPartitioner

from streams.cluster import Cluster
from streams.producer import DeliveryFailed, Producer
from streams.reader import end_offsets, read_partition
from tests.streams.line import create_topic

T = TypeVar("T")

# Java's values, as Kafka's own UtilsTest.testMurmur2 states them.
JAVA_MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.fixture
def topic(bootstrap: str) -> str:
    """Eight partitions of its own."""
    name = f"test.{uuid.uuid4().hex[:8]}"
    create_topic(bootstrap, name, partitions=8)
    return name


def using(bootstrap: str, body: Callable[[Producer], Awaitable[T]], **options: int) -> T:
    """Run the body with a producer and close it afterwards."""

    async def main() -> T:
        producer = Producer(Cluster(bootstrap), **options)  # type: ignore[arg-type]
        try:
            return await body(producer)
        finally:
            await producer.close()

    return asyncio.run(main())


def test_keys_go_where_java_and_faust_put_them(bootstrap: str, topic: str) -> None:
    keys = [*JAVA_MURMUR2, *(f"user-{number}".encode() for number in range(100)), "Zoë 🦊".encode()]

    async def body(producer: Producer) -> dict[bytes, int]:
        sent = {key: producer.produce(topic, key=key, value=b"") for key in keys}
        return {key: (await future).partition for key, future in sent.items()}

    found = using(bootstrap, body)
    assert {key: found[key] for key in JAVA_MURMUR2} == {key: (h & 0x7FFFFFFF) % 8 for key, h in JAVA_MURMUR2.items()}
    faust = DefaultPartitioner()
    assert found == {key: faust(key, list(range(8)), list(range(8))) for key in keys}


def test_a_delivery_names_the_place_where_the_record_stands(bootstrap: str, topic: str) -> None:
    async def body(producer: Producer) -> None:
        first = await producer.produce(topic, key=b"k", value=b"v", partition=3)
        second = await producer.produce(
            topic, key=None, value=None, partition=3, headers=[("h", b"1"), ("h", b"2")], timestamp_ms=12_345
        )
        assert (first.partition, first.offset, second.offset) == (3, 0, 1)
        records = [record async for some in read_partition(Cluster(bootstrap), topic, 3) for record in some]
        assert (records[0].key, records[0].value, records[0].headers) == (b"k", b"v", ())
        assert (records[1].key, records[1].value, records[1].timestamp_ms) == (None, None, 12_345)
        assert records[1].headers == (("h", b"1"), ("h", b"2"))

    using(bootstrap, body)


def test_it_refuses_more_than_it_may_hold_and_says_when_there_is_room(bootstrap: str, topic: str) -> None:
    async def body(producer: Producer) -> None:
        for _ in range(20):  # acknowledgements come only while the loop runs: nothing leaves here
            producer.produce(topic, key=b"k", value=b"v")
        with pytest.raises(BufferError):
            producer.produce(topic, key=b"k", value=b"v")
        await producer.room()
        assert producer.pending < 10
        producer.produce(topic, key=b"k", value=b"v")

    using(bootstrap, body, pending_max=10)
    assert sum(asyncio.run(end_offsets(Cluster(bootstrap), topic)).values()) == 21


def test_bytes_are_bounded_as_well(bootstrap: str, topic: str) -> None:
    async def body(producer: Producer) -> None:
        for _ in range(2):
            producer.produce(topic, key=b"k", value=b"v" * 1_000)
        with pytest.raises(BufferError):
            producer.produce(topic, key=b"k", value=b"v")

    using(bootstrap, body, pending_bytes_max=1_000)


def test_flush_waits_for_what_came_before_it_and_not_for_what_comes_after(bootstrap: str, topic: str) -> None:
    async def body(producer: Producer) -> None:
        before = [producer.produce(topic, key=b"k", value=b"v") for _ in range(1_000)]
        flushed = asyncio.create_task(producer.flush())
        await asyncio.sleep(0)  # the flush has begun
        pends = producer.produce(f"{topic}.missing", key=b"k", value=b"v")
        await flushed
        assert all(future.done() for future in before)
        assert not pends.done()

    using(bootstrap, body, delivery_timeout_ms=3_000)


@pytest.mark.parametrize("size", [2_000, 5 * 1024 * 1024], ids=["for the topic", "for the client"])
def test_a_record_too_large_fails_its_future_the_flush_and_the_process(bootstrap: str, size: int) -> None:
    name = f"test.{uuid.uuid4().hex[:8]}"
    create_topic(bootstrap, name, config={"max.message.bytes": "1000"})

    async def body(producer: Producer) -> None:
        heard: list[DeliveryFailed] = []
        producer.on_failure = heard.append
        with pytest.raises(DeliveryFailed, match=name):
            await producer.produce(name, key=b"k", value=b"v" * size)
        with pytest.raises(DeliveryFailed):
            await producer.flush()
        assert heard == [producer.failure]
        await producer.close()
        assert producer.pending == 0

    using(bootstrap, body)


def test_what_waits_for_a_topic_goes_when_somebody_makes_it(bootstrap: str) -> None:
    name = f"test.{uuid.uuid4().hex[:8]}"

    async def body(producer: Producer) -> None:
        waits = producer.produce(name, key=b"k", value=b"v")
        await producer.produce(near, key=b"k", value=b"v")
        assert not waits.done()
        await asyncio.to_thread(create_topic, bootstrap, name)
        assert (await waits).offset == 0

    near = f"{name}.near"
    create_topic(bootstrap, near)
    using(bootstrap, body)


def test_behind_a_record_that_cannot_be_nothing_goes(bootstrap: str, topic: str) -> None:
    async def body(producer: Producer) -> None:
        # None of their topics is known yet.
        behind = [
            producer.produce(topic, key=None, value=b"v", partition=99),
            producer.produce(topic, key=None, value=b"v", partition=0),
            producer.produce(f"{topic}.other", key=b"k", value=b"v"),
        ]
        with pytest.raises(DeliveryFailed, match="no partition 99"):
            await producer.flush()
        for one in behind:
            with pytest.raises(DeliveryFailed):
                await one
        await producer.close()
        assert producer.pending == 0

    using(bootstrap, body)
    assert sum(asyncio.run(end_offsets(Cluster(bootstrap), topic)).values()) == 0


def test_a_dropped_future_does_not_hide_a_failure(bootstrap: str) -> None:
    async def body(producer: Producer) -> None:
        heard: list[DeliveryFailed] = []
        producer.on_failure = heard.append
        producer.produce(f"test.{uuid.uuid4().hex[:8]}", key=b"k", value=b"v")  # a topic that does not exist
        with pytest.raises(DeliveryFailed):
            await producer.flush()
        assert len(heard) == 1

    using(bootstrap, body, delivery_timeout_ms=1_000)


def test_one_that_has_nothing_to_write_leaves_no_connection_open(bootstrap: str) -> None:
    async def close_while_it_connects() -> None:
        for tenths_ms in range(60):
            producer = Producer(Cluster(bootstrap))
            await asyncio.sleep(tenths_ms / 10_000)
            await producer.close()

    asyncio.run(close_while_it_connects())
    gc.collect()  # What is open still warns here, and a warning is an error.


def test_a_guard_that_objects_lets_nothing_out(bootstrap: str, topic: str) -> None:
    def guard() -> None:
        raise RuntimeError("no longer mine")

    async def body(producer: Producer) -> None:
        producer.guard = guard
        produced = [producer.produce(topic, key=b"k", value=b"v") for _ in range(2)]
        for one in produced:
            with pytest.raises(DeliveryFailed, match="no longer mine"):
                await one
        producer.guard = None
        with pytest.raises(DeliveryFailed, match="no longer mine"):
            await producer.produce(topic, key=b"k", value=b"later")

    using(bootstrap, body)
    assert sum(asyncio.run(end_offsets(Cluster(bootstrap), topic)).values()) == 0

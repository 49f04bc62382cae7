"""A table over a real compacted topic: from an empty disk, from an old one, and after the broker has compacted."""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer as PlainProducer
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.stack.running import RunningStack
from streams.cluster import Cluster
from streams.producer import Delivered, Producer
from streams.reader import Follower, bounds, read_values
from tables.rocks import Rocks
from tables.store import MemoryStore, Store
from tables.table import Recovery, Table

KEYS, TURNS = 20, 15
PATIENCE_S = 120


def head(value: bytes) -> bytes:
    return value[:6]


def value(order: int) -> bytes:
    return b"%06d" % order + bytes(200)


class Topic:
    """A compacted topic of one partition whose cleaner is in a hurry."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap, self.name = bootstrap, f"rows-{uuid.uuid4().hex[:8]}"
        config = {
            "cleanup.policy": "compact",
            "segment.ms": "500",
            "min.compaction.lag.ms": "0",
            "min.cleanable.dirty.ratio": "0.001",
        }
        # Kept in a name: its answers die with it.
        client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        client.create_topics([NewTopic(self.name, 1, 1, config=config)])[self.name].result(30)

    async def bounds(self) -> tuple[int, int]:
        return await bounds(Cluster(self.bootstrap), self.name, 0)

    async def pairs(self) -> list[tuple[bytes | None, bytes | None]]:
        return [pair async for pairs in read_values(Cluster(self.bootstrap), self.name, 0) for pair in pairs]

    def write_late(self, *written: tuple[bytes, bytes]) -> None:
        """As a worker that was stopped and woke up."""
        client = PlainProducer({"bootstrap.servers": self.bootstrap})
        for key, what in written:
            client.produce(self.name, what, key, 0)
        assert client.flush(30) == 0

    def compacted(self, below: int) -> None:
        """Return when there are fewer records than this. A segment is closed by a write after its time."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            self.write_late((b"\x00beat", value(1)))
            if len(asyncio.run(self.pairs())) < below:
                return
            assert time.monotonic() < deadline_s, "the broker did not compact"
            time.sleep(1)


async def recovered(store: Store, topic: Topic, producer: Producer) -> tuple[Table, Recovery]:
    def produce(key: bytes, what: bytes) -> asyncio.Future[Delivered]:
        return producer.produce(topic.name, key=key, value=what, partition=0)

    table = Table(store, head=head, order=int, produce=produce)
    low, end = await topic.bounds()
    read = partial(read_values, Cluster(topic.bootstrap), topic.name, 0, end=end)
    return table, await table.recover(low=low, end=end, read=lambda start: read(start=start))


def rows(store: Store) -> dict[bytes, int]:
    return {key: int(what[:6]) for key, what in store.values() if key != b"\x00beat"}


@pytest.fixture(params=["memory", "rocksdb"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """A store with nothing in it."""

    def opened() -> Store:
        if request.param == "memory":
            return MemoryStore(head=head)
        return Rocks(tmp_path / uuid.uuid4().hex, identity=b"rows", head=head).open(0)

    return opened


EXPECTED = {b"u%02d" % key: TURNS * KEYS + key for key in range(KEYS)}


async def work(topic: Topic, store: Store) -> None:
    """Every key many times, a batch a turn; followed to the end."""
    producer = Producer(Cluster(topic.bootstrap))
    table, _ = await recovered(store, topic, producer)
    for turn in range(1, TURNS + 1):
        for key in range(KEYS):
            table.put(b"u%02d" % key, value(turn * KEYS + key))
        await table.flush()
    follower = Follower(Cluster(topic.bootstrap), topic.name)
    follower.add(0, start=0)
    end = (await topic.bounds())[1]
    async for records in follower:
        for record in records:
            table.check(record)
        if table.checkpoint == end:
            break
    table.commit()
    assert store.checkpoint == end
    await producer.close()


async def start_again(topic: Topic, store: Store) -> tuple[dict[bytes, int], Recovery]:
    producer = Producer(Cluster(topic.bootstrap))
    _, done = await recovered(store, topic, producer)
    await producer.close()
    return rows(store), done


def test_a_worker_starts_from_an_empty_disk_an_old_one_and_after_compaction(
    servers: RunningStack, empty: Callable[[], Store]
) -> None:
    topic, old = Topic(servers.cluster.bootstrap), empty()
    asyncio.run(work(topic, old))
    written = KEYS * TURNS
    assert asyncio.run(start_again(topic, empty())) == (EXPECTED, Recovery(0, written, 0, rebuilt=True))

    # Late rows, and a new one, while nobody is here.
    topic.write_late((b"u00", value(1)), (b"u01", value(2)), (b"new", value(7)))
    found, done = asyncio.run(start_again(topic, old))
    assert found == {**EXPECTED, b"new": 7}
    assert done == Recovery(written, 3, 2, rebuilt=False)

    topic.compacted(below=written // 3)
    found, done = asyncio.run(start_again(topic, empty()))
    assert found == {**EXPECTED, b"new": 7}
    assert (done.rebuilt, done.put_again) == (True, 0)
    assert asyncio.run(start_again(topic, old))[0] == {**EXPECTED, b"new": 7}
    old.close()


def test_a_disk_older_than_the_compaction_takes_what_is_left_and_puts_its_own_greater_rows_back(
    servers: RunningStack, tmp_path: Path
) -> None:
    topic = Topic(servers.cluster.bootstrap)
    disk = Rocks(tmp_path / "now", identity=b"rows", head=head).open(0)
    asyncio.run(work(topic, disk))
    disk.close()
    shutil.copytree(tmp_path / "now", tmp_path / "old")
    # Another worker goes on with one of them, and a zombie writes an old row of another: compaction keeps both.
    topic.write_late((b"u05", value(900)), (b"u06", value(3)))
    topic.compacted(below=KEYS * TURNS // 3)
    old = Rocks(tmp_path / "old", identity=b"rows", head=head).open(0)
    found, done = asyncio.run(start_again(topic, old))
    assert found == {**EXPECTED, b"u05": 900}
    assert (done.rebuilt, done.put_again) == (False, 1)
    again = asyncio.run(start_again(topic, MemoryStore(head=head)))[0]
    assert again == found
    old.close()

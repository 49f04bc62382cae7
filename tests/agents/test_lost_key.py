"""A living person's key that is gone: the worker ends and says what to do, and no other row comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from deploy.stack.running import RunningStack
from oo.v1.signal_pb2 import Signal, TaskUpserted
from streams.keys import name_of
from streams.partitioner import partition_of
from streams.record import Record
from streams.topics import PARTITIONS
from tests.agents.process import AgentProcess, Topics, until

HOME = partition_of(b"ada", PARTITIONS)


@pytest.fixture
def under(servers: RunningStack) -> Iterator[Topics]:
    topics = Topics(servers)
    yield topics
    topics.close()


def task(number: str) -> Signal:
    return Signal(user_id="ada", source="test", task_upserted=TaskUpserted(external_id=number, title=f"Task {number}"))


def rows(under: Topics) -> list[Record]:
    return [record for record in under.read("rows", partition=HOME) if record.key == b"ada"]


def test_the_lost_key_of_a_living_person_stops_the_worker_and_never_gives_another_row(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    worker = AgentProcess("core", servers, under, tmp_path, {}).start()
    under.produce("signals", [task("1")])
    until(lambda: bool(rows(under)), alive=worker)
    assert worker.stop() == 0
    before, keys = rows(under), under.keys()
    (one,) = keys.held(b"ada")
    producer = Producer(under.cluster.rdkafka())
    name = under.cluster.name("keys")
    producer.produce(name, None, name_of(b"ada", one.id), HOME)
    assert producer.flush(30) == 0

    worker.start()
    under.produce("signals", [task("2")])
    assert worker.wait() == 1
    assert f"key {one.id.hex()} is not in the topic of keys" in worker.log()
    assert "bring that topic back" in worker.log()
    for _ in range(3):  # Nor is the record set aside, however often it ends a process.
        assert worker.start().wait() == 1
    assert rows(under) == before
    assert under.dead_letters() == []
    assert under.read("set-aside") == []

"""What stands on a topic for one user, read and written by a plain Kafka client."""

from __future__ import annotations

import time
from typing import TypeVar

from confluent_kafka import Consumer, Producer, TopicPartition
from google.protobuf.message import Message

from connectors.key_files import KeyFiles
from deploy.stack.running import RunningStack
from oo.v1 import key_pb2
from streams.cluster import Cluster
from streams.frames import Frames
from streams.keys import Keys, name_of
from streams.partitioner import partition_of
from streams.topics import PARTITIONS
from streams.wire import payload
from tests.sealed import give, opened_now

M = TypeVar("M", bound=Message)

SINCE_MS = int(time.time() * 1000)
"""Servers may be those of an earlier run."""


def messages(stack: RunningStack, topic: str, kind: type[M], *, user_id: str) -> list[M]:
    """All messages of this run, opened, under this user's key, up to the end as it is now."""
    name = f"{stack.cluster.prefix}{topic}"
    settings = {"group.id": "oo-reader", "enable.auto.commit": False, "fetch.wait.max.ms": 20}
    consumer = Consumer({**settings, **stack.cluster.rdkafka()})
    found: list[M] = []
    try:
        left = {}
        for partition in consumer.list_topics(name, timeout=10).topics[name].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=10)
            if low < high:
                left[partition] = high
        consumer.assign([TopicPartition(name, partition, 0) for partition in left])
        while left:
            record = consumer.poll(10)
            assert record is not None
            assert record.error() is None
            if record.offset() + 1 >= left.get(record.partition(), 2**62):
                del left[record.partition()]
            if record.key() == user_id.encode() and record.timestamp()[1] >= SINCE_MS:
                found.append(kind.FromString(payload(record.value())))
    finally:
        consumer.close()
    keys = Keys.of(stack.cluster, KeyFiles(stack.kek_dir))
    return [opened_now(one, whose=user_id.encode(), keys=keys) for one in found]


def write(cluster: Cluster, topic: str, *messages: Message, user: str, key: bytes = b"") -> None:
    """Put these on a topic, where this person's go."""
    producer = Producer({**cluster.rdkafka(), "linger.ms": 5})
    number = partition_of(user.encode(), PARTITIONS) if cluster.topics[topic].key == "user" else 0
    for message in messages:
        producer.produce(cluster.name(topic), Frames().frame(topic, message), key or user.encode(), number)
    assert producer.flush(30) == 0


def make_known(cluster: Cluster, keys: Keys, user: str) -> None:
    """Give this person a key, as the engine does when it first hears of them: here, and on its topic for other processes."""
    key = give(keys, user.encode())
    word = key_pb2.WrappedKey(kek_id=key.kek_id, wrapped=key.wrapped)
    write(cluster, "keys", word, user=user, key=name_of(user.encode(), key.id))

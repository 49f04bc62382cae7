"""The peers: a bare three-hop loop, and nothing else. Run as a process of its own: `bare.py CLIENT BOOTSTRAP A B C`.

Consumes A and produces to B, consumes B and produces to C: the hops that a signal takes to the journal and to its tip.
Whoever measures consumes C. One consumer and producer a hop, and no delay that can be turned off.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

FETCH_WAIT_MS = 50


async def aiokafka_hop(bootstrap: str, source: str, target: str) -> None:
    consumer = AIOKafkaConsumer(
        source, bootstrap_servers=bootstrap, fetch_max_wait_ms=FETCH_WAIT_MS, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
    await consumer.start()
    await producer.start()
    print(f"ready {source}", flush=True)
    async for record in consumer:
        await producer.send(target, record.value, key=record.key)


async def aiokafka_loop(bootstrap: str, first: str, second: str, third: str) -> None:
    await asyncio.gather(aiokafka_hop(bootstrap, first, second), aiokafka_hop(bootstrap, second, third))


def librdkafka_hop(bootstrap: str, source: str, target: str) -> None:
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "socket.nagle.disable": True,
            "log_level": 0,
        }
    )
    for record in librdkafka_records(bootstrap, source):
        if record is None:
            # In one call: the other hop's thread says the same.
            sys.stdout.write(f"ready {source}\n")
            sys.stdout.flush()
            continue
        producer.produce(target, record.value(), record.key())
        producer.poll(0)


def librdkafka_records(bootstrap: str, topic: str) -> Iterator[Message | None]:
    """Every record of the topic for ever; None once, when the consumer is on its way."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bare",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "socket.nagle.disable": True,
            "log_level": 0,
        }
    )
    while not (partitions := consumer.list_topics(topic, 30).topics[topic].partitions):
        time.sleep(0.1)  # made a moment ago, and the broker does not know yet
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    yield None
    while True:
        record = consumer.poll(1.0)
        if record is not None and record.error() is None:
            yield record


def main() -> None:
    client, bootstrap, first, second, third = sys.argv[1:6]
    if client == "aiokafka":
        uvloop.run(aiokafka_loop(bootstrap, first, second, third))
        return
    hops = [
        threading.Thread(target=librdkafka_hop, args=(bootstrap, *hop)) for hop in ((first, second), (second, third))
    ]
    for hop in hops:
        hop.start()


if __name__ == "__main__":
    main()

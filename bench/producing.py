"""Producing: what a round of records costs its process and the broker, ours beside librdkafka's idempotent producer, in turns.

A round is what one turn of the loop produces, over the partitions of one topic; the next begins when all of it is acknowledged.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median
from threading import Event

import confluent_kafka
import psutil
import uvloop
from confluent_kafka.admin import AdminClient, NewTopic

from bench.load import parts_of, spent
from bench.result import Bench, Result, Row, compared
from deploy.stack.running import RunningStack
from streams.producer import Producer
from streams.topics import PARTITIONS

ROUNDS = {1: 1_500, 8: 400, 64: 150}
"""Records of a round -> how many of them a turn."""
TURNS = 5
RECORD = bytes(600)
PEER = "librdkafka, idempotent"

Round = Callable[[int], Awaitable[None]]
"""Records of the round."""
Parts = Mapping[str, Sequence[psutil.Process]]


def measure(bench: Bench) -> Result:
    """Microseconds of a round: the process's, the broker's, and until it is acknowledged."""
    with bench.stack(servers_only=True) as stack:
        found = uvloop.run(_measure(stack, bench))
    return Result([row for size in ROUNDS for row in _rows(size, found)])


def _rows(size: int, found: dict[tuple[str, int], list[tuple[float, float, float]]]) -> list[Row]:
    ours, theirs = ([median(one) for one in zip(*found[side, size], strict=True)] for side in ("ours", "theirs"))
    what = f"a round of {size} record{'s' if size > 1 else ''}"
    names = ("the process's processor time", "the broker's processor time", "until it is acknowledged")
    return [
        compared(f"producing-{size}-{number}", f"{what}: {name}", mine, "µs", peer=peers, peer_name=PEER)
        for number, (name, mine, peers) in enumerate(zip(names, ours, theirs, strict=True))
    ]


async def _measure(stack: RunningStack, bench: Bench) -> dict[tuple[str, int], list[tuple[float, float, float]]]:
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": stack.cluster.bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()
    broker = {"kafka": parts_of(stack)["kafka"]}
    producer = Producer(stack.cluster)
    plain = confluent_kafka.Producer(
        {
            "bootstrap.servers": stack.cluster.bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "socket.nagle.disable": True,
        }
    )

    async def ours(size: int) -> None:
        for number in range(size):
            producer.produce(topic, key=None, value=RECORD, partition=number % PARTITIONS)
        await producer.flush()

    async def theirs(size: int) -> None:
        await asyncio.to_thread(_round, plain, topic, size)

    rounds: dict[str, Round] = {"ours": ours, "theirs": theirs}
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(50):
        for one in rounds.values():
            await one(PARTITIONS)
    for _ in bench.track(range(2 if bench.quick else TURNS), "producing", TURNS):
        for size, many in ROUNDS.items():
            for side, one in rounds.items():
                found.setdefault((side, size), []).append(await _turn(one, size, many, broker))
    await producer.close()
    return found


def _round(plain: confluent_kafka.Producer, topic: str, size: int) -> None:
    left, done = size, Event()

    def told(error: confluent_kafka.KafkaError | None, _: confluent_kafka.Message) -> None:
        nonlocal left
        assert error is None, error
        left -= 1
        if not left:
            done.set()

    for number in range(size):
        plain.produce(topic, RECORD, partition=number % PARTITIONS, on_delivery=told)
    while not done.is_set():
        plain.poll(0.1)


async def _turn(one: Round, size: int, many: int, broker: Parts) -> tuple[float, float, float]:
    began_s, mine_s, theirs_s = time.perf_counter(), time.process_time(), spent(broker)["kafka"]
    for _ in range(many):
        await one(size)
    ended_s = time.perf_counter()
    taken = time.process_time() - mine_s, spent(broker)["kafka"] - theirs_s, ended_s - began_s
    return tuple(seconds / many * 1e6 for seconds in taken)  # type: ignore[return-value]

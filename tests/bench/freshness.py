"""Freshness: from a signal's acknowledgement to its tip in Valkey, beside a bare three-hop loop in the same run.

Both are driven by this process at the same rate, in turns of some seconds each, so that a machine that slows down
slows both. The tip is taken as there when Valkey announces it, which it does in the same script that stores it. The
loop's last hop ends where this process has read the record, as ours ends where it has read the announcement.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from confluent_kafka.admin import AdminClient, NewTopic
from valkey.asyncio import Valkey

from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2, signal_pb2
from streams.frames import Schemas
from streams.producer import Producer
from streams.topics import PARTITIONS
from tests.bench.result import Bench, Result, Row, compared

RATES = (50,)
WARM_S = 4.0
TURN_S = 10.0
LATE_S = 10.0


@dataclass(slots=True)
class Latencies:
    """Milliseconds from acknowledgement to arrival; `missing` never arrived."""

    ms: list[float] = field(default_factory=list)
    missing: int = 0

    def percentile(self, p: float) -> float:
        ordered = sorted(self.ms)
        return ordered[min(int(len(ordered) * p / 100), len(ordered) - 1)]


class Stopwatch:
    """Matches acknowledgements with arrivals, whichever comes first."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, float] = {}
        self.arrived: dict[str, float] = {}

    def read(self) -> Latencies:
        found = Latencies()
        for name, acknowledged_s in self.acknowledged.items():
            if name in self.arrived:
                # A tip can be there before the producer has heard of its signal: that counts as no time at all.
                found.ms.append(max(self.arrived[name] - acknowledged_s, 0.0) * 1000)
            else:
                found.missing += 1
        self.acknowledged.clear()
        self.arrived.clear()
        return found


def measure(bench: Bench) -> Result:
    """Signal acknowledged to tip in Valkey, at each rate."""
    rows: list[Row] = []
    for rate in RATES:
        with bench.stack() as stack:
            ours, bare = asyncio.run(_measure(stack, rate=rate, turn_s=1.0 if bench.quick else TURN_S))
        if ours.missing or bare.missing:
            raise SystemExit(f"{ours.missing} signals got no tip, {bare.missing} records did not come through the loop")
        for percentile, limit in ((50, 2.5), (99, 4.0)):
            rows.append(
                compared(
                    f"freshness-p{percentile}-{rate}",
                    f"signal acknowledged to tip in Valkey, p{percentile} at {rate}/s, n={len(ours.ms)}",
                    ours.percentile(percentile),
                    "ms",
                    peer=bare.percentile(percentile),
                    peer_name="bare three-hop loop, aiokafka",
                    at_most=limit,
                )
            )
    return Result(rows)


async def _measure(
    stack: RunningStack, *, rate: int, turns: int = 3, turn_s: float = TURN_S
) -> tuple[Latencies, Latencies]:
    """(ours, the bare loop's), each over `turns` turns of `turn_s` seconds at `rate` records a second."""
    schemas = Schemas(stack.registry_url, stack.prefix)
    await schemas.register()
    producer = Producer(stack.bootstrap, client_id="bench")
    ours, bare = Latencies(), Latencies()
    async with _tips(stack) as tips, _bare_loop(stack) as (bare_topic, loop):
        await _turn(producer, tips, rate=rate, seconds=WARM_S, send=_signal(stack, schemas))
        await _turn(producer, loop, rate=rate, seconds=WARM_S, send=_bare(bare_topic))
        for _ in range(turns):
            _add(ours, await _turn(producer, tips, rate=rate, seconds=turn_s, send=_signal(stack, schemas)))
            _add(bare, await _turn(producer, loop, rate=rate, seconds=turn_s, send=_bare(bare_topic)))
    await producer.close()
    return ours, bare


def _add(total: Latencies, turn: Latencies) -> None:
    total.ms += turn.ms
    total.missing += turn.missing


def _signal(stack: RunningStack, schemas: Schemas):
    """A new task for a user of its own: their first tip has to follow."""

    def record(name: str) -> tuple[str, bytes, bytes]:
        upsert = signal_pb2.TaskUpserted(external_id="1", title="Water the plants", priority=2)
        signal = signal_pb2.Signal(user_id=name, source="bench", event_id=name, task_upserted=upsert)
        return f"{stack.prefix}signals", name.encode(), schemas.frame("signals", signal)

    return record


def _bare(topic: str):
    def record(name: str) -> tuple[str, bytes, bytes]:
        return topic, name.encode(), bytes(80)

    return record


async def _turn(producer: Producer, watch: Stopwatch, *, rate: int, seconds: float, send) -> Latencies:
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for index in range(int(rate * seconds)):
        delay_s = start_s + index / rate - loop.time()
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        name = f"bench-{uuid.uuid4().hex}"
        topic, key, value = send(name)
        future = producer.produce(topic, key=key, value=value)
        future.add_done_callback(lambda _, name=name: watch.acknowledged.__setitem__(name, time.perf_counter()))
    until_s = loop.time() + LATE_S
    while loop.time() < until_s and (
        len(watch.acknowledged) < int(rate * seconds) or watch.acknowledged.keys() - watch.arrived.keys()
    ):
        await asyncio.sleep(0.05)
    return watch.read()


@contextlib.asynccontextmanager
async def _tips(stack: RunningStack) -> AsyncIterator[Stopwatch]:
    watch, client = Stopwatch(), Valkey.from_url(stack.valkey_url, socket_timeout=None)
    subscription = client.pubsub()
    await subscription.psubscribe("oo:tips:*")

    async def follow() -> None:
        async for message in subscription.listen():
            if message["type"] == "pmessage" and message["data"]:
                tip = decision_pb2.Tip.FromString(message["data"])
                watch.arrived.setdefault(tip.user_id, time.perf_counter())

    task = asyncio.create_task(follow())
    try:
        yield watch
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await subscription.aclose()
        await client.aclose()


@contextlib.asynccontextmanager
async def _bare_loop(stack: RunningStack) -> AsyncIterator[tuple[str, Stopwatch]]:
    watch = Stopwatch()
    names = [f"bench-{uuid.uuid4().hex[:8]}-{hop}" for hop in "abc"]
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    for created in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        created.result()
    script = Path(__file__).with_name("bare.py")
    loop = subprocess.Popen([sys.executable, str(script), stack.bootstrap, *names], stdout=subprocess.PIPE, text=True)
    consumer = AIOKafkaConsumer(
        names[2], bootstrap_servers=stack.bootstrap, fetch_max_wait_ms=50, auto_offset_reset="earliest"
    )
    await consumer.start()

    async def follow() -> None:
        async for record in consumer:
            watch.arrived.setdefault((record.key or b"").decode(), time.perf_counter())

    task = asyncio.create_task(follow())
    try:
        assert loop.stdout is not None
        for _ in range(2):
            line = await asyncio.to_thread(loop.stdout.readline)
            assert line.startswith("ready"), f"the bare loop did not start: {line}"
        yield names[0], watch
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await consumer.stop()
        loop.terminate()
        loop.wait(10)
        for deleted in admin.delete_topics(names).values():
            deleted.result()

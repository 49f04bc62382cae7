"""Scale out: what an event costs with one, two and four core workers, and how long a change of workers stands in the way.

The first part folds a backlog of the same make with each number of workers. The second keeps a steady stream of first
signals of new people flowing while a worker is added, leaves, and is gone with its machine; the third, while one is killed and
stopped under the supervisor, which starts it again: how long the tips of that time waited stands in the log itself, in
the times of the records.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import confluent_kafka

from bench.cores import Cores, backlog, cores, framed, homes, write
from bench.result import Bench, Result, Row, compared, slug
from deploy.stack.running import RunningStack
from streams.app import SESSION_TIMEOUT_S
from streams.reader import read_partition
from streams.schemas import Schemas
from streams.topics import PARTITIONS
from tests.agents.build import task

WORKERS = (1, 2, 4)
USERS = 200
EVENTS = 6_000
RATE = 50
"""Signals a second while workers come and go."""
KILLED = "a worker was killed, and its supervisor started it again"
STOPPED = "a worker was stopped (SIGTERM), and its supervisor started it again"
GONE = "a worker was gone with its machine (SIGKILL, and nobody starts it)"
GOALS_S = {KILLED: 2.0, STOPPED: 2.0, GONE: SESSION_TIMEOUT_S + 2.0}
SETTLE_S = 4.0
AFTER_S = 3.0


def measure(bench: Bench) -> Result:
    """Processor time per event by number of workers; the longest wait of a tip by what happened to them."""
    with bench.stack(servers_only=True, nameless=True) as stack:
        schemas = asyncio.run(_schemas(stack))
        with cores(stack) as running:
            costs = {count: _cost(stack, schemas, running, count, bench) for count in WORKERS}
        waits = _waits(stack, schemas, bench)
    with bench.stack(workers=2, nameless=True) as stack:
        supervised = _supervised_waits(stack, schemas, bench)
    rows = [
        compared(
            f"scale-out-{count}",
            f"processor time of a signal with {count} core workers",
            costs[count] * 1000,
            "ms",
            peer=costs[1] * 1000,
            peer_name="1 worker",
        )
        for count in WORKERS[1:]
    ]
    return Result([*rows, *_wait_rows(waits), *_wait_rows(supervised)])


async def _schemas(stack: RunningStack) -> Schemas:
    schemas = Schemas(stack.cluster)
    await schemas.register()
    return schemas


def _cost(stack: RunningStack, schemas: Schemas, running: Cores, count: int, bench: Bench) -> float:
    """Processor seconds per signal, over all the workers."""
    events = EVENTS // 10 if bench.quick else EVENTS
    users = [f"bench-{uuid.uuid4().hex}" for _ in range(USERS // 10 if bench.quick else USERS)]
    workers = [running.start(f"core-{number}") for number in range(count)]
    running.until_shared(count)
    signals = stack.cluster.name("signals")
    write(stack.cluster.bootstrap, signals, framed(schemas, homes(users), run=f"homes-{count}"))
    running.until_folded()
    records = framed(schemas, backlog(users, events, seed=1), run=f"{count}")
    before_s = sum(worker.cpu_s for worker in workers)
    write(stack.cluster.bootstrap, signals, records)
    running.until_folded()
    cost_s = (sum(worker.cpu_s for worker in workers) - before_s) / events
    bench.say(f"{count} workers: {cost_s * 1000:.2f} ms of processor time per signal")
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.wait(30)
    return cost_s


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds: the longest that a signal of this time waited for its tip, and the longest in which no tip came at all."""

    longest_s: float
    silence_s: float


def _waits(stack: RunningStack, schemas: Schemas, bench: Bench) -> dict[str, Wait]:
    """What happened -> what tips waited because of it; nobody starts again what has ended."""
    with cores(stack) as running, _traffic(stack, schemas):
        first, second = running.start("core-0"), running.start("core-1")
        running.until_shared(2)
        running.until_passed()
        spans = Spans(running, bench)
        spans.take("nothing", lambda: time.sleep(SETTLE_S))
        spans.take("a third worker came", lambda: (running.start("core-2"), running.until_shared(3)))
        third = running.newest
        spans.take("a worker left for good (SIGUSR1)", lambda: (third.end(signal.SIGUSR1), running.until_shared(2)))
        spans.take(GONE, lambda: (second.end(signal.SIGKILL), running.until_shared(1)))
        assert first.process.poll() is None
    return asyncio.run(_read_waits(stack, spans.taken))


def _supervised_waits(stack: RunningStack, schemas: Schemas, bench: Bench) -> dict[str, Wait]:
    """The same, where `oo up` keeps two workers running."""
    running = Cores(stack)

    def end(number: signal.Signals) -> None:
        before = _pid(stack)
        os.kill(before, number)
        while _pid(stack) in (0, before):
            time.sleep(0.05)
        running.until_shared(2)

    with _traffic(stack, schemas):
        running.until_shared(2)
        running.until_passed()
        spans = Spans(running, bench)
        spans.take("nothing", lambda: time.sleep(SETTLE_S))
        spans.take(KILLED, lambda: end(signal.SIGKILL))
        spans.take(STOPPED, lambda: end(signal.SIGTERM))
    return asyncio.run(_read_waits(stack, spans.taken))


def _pid(stack: RunningStack) -> int:
    """Of the first worker; 0 while it does not run."""
    return int((stack.folder.read() or {})["parts"]["core-0"]["pid"] or 0)


@dataclass(slots=True)
class Spans:
    """From when to when something happened, each until what was there at its end is folded."""

    running: Cores
    bench: Bench
    taken: dict[str, tuple[float, float]] = field(default_factory=dict)

    def take(self, name: str, act: Callable[[], object]) -> None:
        began_s = time.time()
        act()
        self.running.until_passed()
        time.sleep(AFTER_S)
        self.taken[name] = began_s, time.time()
        self.bench.say(f"{name} (load average {os.getloadavg()[0]:.1f})")


@contextlib.contextmanager
def _traffic(stack: RunningStack, schemas: Schemas) -> Iterator[None]:
    """First signals of new people at a steady rate."""
    client = confluent_kafka.Producer(
        {
            "bootstrap.servers": stack.cluster.bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 0,
        }
    )
    stopping = threading.Event()

    def run() -> None:
        while not stopping.wait(1 / RATE):
            user = f"bench-{uuid.uuid4().hex}"
            signal_ = task("1", user=user)
            signal_.event_id = user
            client.produce(stack.cluster.name("signals"), schemas.frame("signals", signal_), user)
            client.poll(0)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        client.flush(30)


async def _read_waits(stack: RunningStack, spans: dict[str, tuple[float, float]]) -> dict[str, Wait]:
    told = await _times(stack, "signals")
    tipped = await _times(stack, "tips")
    waits = {}
    for name, (began_s, ended_s) in spans.items():
        mine = [user for user, time_s in told.items() if began_s <= time_s < ended_s - 1 and user in tipped]
        moments = sorted(time_s for time_s in tipped.values() if began_s <= time_s <= ended_s)
        gaps = [later - sooner for sooner, later in zip([began_s, *moments], moments, strict=False)]
        waits[name] = Wait(max(tipped[user] - told[user] for user in mine), max(gaps))
    return waits


async def _times(stack: RunningStack, name: str) -> dict[str, float]:
    """user -> when their first record here was written, by its timestamp."""
    times: dict[str, float] = {}
    for number in range(PARTITIONS):
        async for records in read_partition(stack.cluster, f"{stack.cluster.prefix}{name}", number):
            for record in records:
                times.setdefault((record.key or b"").decode(), record.timestamp_ms / 1000)
    return times


def _wait_rows(waits: dict[str, Wait]) -> Iterator[Row]:
    calm = waits.pop("nothing")
    for name, wait in waits.items():
        what = f"{name}: the longest that a signal waited for its tip, {RATE}/s, 2 workers before"
        peer, peer_name = (GOALS_S[name], "the goal") if name in GOALS_S else (max(calm.longest_s, 0.001), "before")
        yield compared(
            f"scale-out-wait-{slug(name)}",
            what,
            wait.longest_s,
            "s",
            peer=peer,
            peer_name=peer_name,
            at_most=1.0 if name in GOALS_S else None,
            note=f"No tip of anybody's came for {wait.silence_s:.1f} s when {name}; before that the longest wait was "
            f"{calm.longest_s:.3f} s.",
        )

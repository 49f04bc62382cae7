"""Freshness: from a signal's acknowledgement to its tip, beside bare three-hop loops in the same run.

All are driven by this process at the same rate, in turns of some seconds each, so that a machine that slows down slows
all of them. A tip is there when Valkey announces it, which it does in the same script that stores it; and again when
it has come through an open stream of the edge. A loop's last hop ends where this process has read the record.

Signals are newcomers': each is a person's first, for whom a key is made before anything of theirs is written. At the lowest pace the same people
then have a second one, as most signals are: their key, row and tip are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from confluent_kafka.admin import AdminClient, NewTopic
from valkey import Valkey

from bench.arrivals import Announcements, Stopwatch, Stream, Writer, follow_aiokafka, follow_librdkafka
from bench.result import Bench, Plot, Result, Row, compared
from connectors.valkey import tip_key
from deploy.stack.running import RunningStack
from oo.v1 import decision_pb2, signal_pb2
from serving.issuer import LocalIssuer
from streams.schemas import Schemas
from streams.topics import PARTITIONS

PERCENTILES = (50.0, 99.0, 99.9)
GOALS = {50.0: 2.5, 99.0: 4.0}
"""Percentile -> how many times the bare loop's, at most."""
WARM_S = 4.0
LATE_S = 10.0
TURNS = 3
OURS = {
    "valkey": "a newcomer's signal acknowledged to tip in Valkey",
    "stream": "a newcomer's signal acknowledged to tip on an open stream of the edge",
    "known": "a signal of somebody known acknowledged to tip in Valkey",
    "known-stream": "a signal of somebody known acknowledged to tip on an open stream of the edge",
}
PEERS = {"aiokafka": "bare three-hop loop, aiokafka", "librdkafka": "bare three-hop loop, librdkafka"}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and for how long each of the turns lasts."""

    rate: int
    turn_s: float
    streams: int
    """Users of each turn who have a stream open."""
    has_goal: bool = True
    again: bool = False
    """Whether the same people have a second task."""


PACES = (
    Pace(50, 10.0, streams=50, again=True),
    Pace(500, 6.0, streams=100),
    Pace(2_000, 3.0, streams=50, has_goal=False),
)


@dataclass(slots=True)
class Latencies:
    """Milliseconds from acknowledgement to arrival; `missing` never arrived."""

    ms: list[float] = field(default_factory=list)
    missing: int = 0
    reached: list[float] = field(default_factory=list)
    """Of each turn: records a second, from the first that was sent to the last that arrived."""

    def add(self, watch: Stopwatch, names: Sequence[str], *, began_s: float) -> None:
        ended_s = began_s
        for name in names:
            acknowledged_s, arrived_s = watch.acknowledged.get(name), watch.arrived.get(name)
            if acknowledged_s is None or arrived_s is None:
                self.missing += 1
                continue
            # A tip can be there before the producer has heard of its signal: that counts as no time at all.
            self.ms.append(max(arrived_s - acknowledged_s, 0.0) * 1000)
            ended_s = max(ended_s, arrived_s)
        self.reached.append(len(names) / max(ended_s - began_s, 1e-3))

    def percentile(self, percent: float) -> float:
        ordered = sorted(self.ms)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]

    def distribution(self, points: int = 300) -> tuple[list[float], list[float]]:
        """(milliseconds, share of all that took no longer)."""
        ordered = sorted(self.ms)
        places = sorted({min(int(len(ordered) * point / points), len(ordered) - 1) for point in range(points + 1)})
        return [max(ordered[place], 0.1) for place in places], [(place + 1) / len(ordered) for place in places]


@dataclass(slots=True)
class Found:
    """What one pace gave: latencies by side, and how busy this process was."""

    by_side: dict[str, Latencies] = field(default_factory=dict)
    generator_share: float = 0.0

    def of(self, side: str) -> Latencies:
        """Of this side, to be added to."""
        return self.by_side.setdefault(side, Latencies())


Send = Callable[[str], tuple[str, bytes]]
"""name -> (topic, value)"""


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that are compared."""

    watch: Stopwatch
    send: Send


def measure(bench: Bench) -> Result:
    """Signal acknowledged to tip, at each pace."""
    with bench.stack(nameless=True) as stack:
        found = uvloop.run(_measure(stack, bench))
    rows: list[Row] = []
    plots: list[Plot] = []
    for pace in PACES:
        rows += _rows(pace, found[pace])
        plots.append(
            Plot(
                f"freshness-{pace.rate}",
                f"From a signal's acknowledgement to its tip, {pace.rate} signals a second",
                "milliseconds",
                "share that took no longer",
                {
                    ({**OURS, **PEERS}[name]): latencies.distribution()
                    for name, latencies in found[pace].by_side.items()
                },
                x_scale="log",
            )
        )
    return Result(rows, plots)


def _rows(pace: Pace, found: Found) -> list[Row]:
    rows = []
    note = (
        "A newcomer's signal is a person's first task, so that a first tip has to follow it; a signal of somebody known is their second. "
        "One process writes the signals and "
        f"sees them arrive: at {pace.rate}/s it took {found.generator_share:.0%} of a core."
    )
    peer = found.by_side["aiokafka"]
    for side, what in OURS.items():
        if (ours := found.by_side.get(side)) is None:
            continue
        late = f" {ours.missing} streams heard nothing within {LATE_S:g} s." if ours.missing else ""
        for percent in PERCENTILES:
            if len(ours.ms) * (100 - percent) < 100:
                continue  # less than one sample beyond it: no percentile
            rows.append(
                compared(
                    f"freshness-{side}-p{percent:g}-{pace.rate}",
                    f"{what}, p{percent:g} at {pace.rate}/s, n={len(ours.ms)}",
                    ours.percentile(percent),
                    "ms",
                    peer=peer.percentile(percent),
                    peer_name=PEERS["aiokafka"],
                    at_most=GOALS.get(percent) if pace.has_goal and not side.startswith("known") else None,
                    note=note + late,
                )
            )
    ours = found.by_side["valkey"]
    rows += [
        compared(
            f"freshness-librdkafka-p{percent:g}-{pace.rate}",
            f"{OURS['valkey']}, p{percent:g} at {pace.rate}/s",
            ours.percentile(percent),
            "ms",
            peer=found.by_side["librdkafka"].percentile(percent),
            peer_name=PEERS["librdkafka"],
        )
        for percent in PERCENTILES[:2]
    ]
    if not pace.has_goal:
        rows.append(
            compared(
                f"freshness-reached-{pace.rate}",
                f"reached where {pace.rate}/s are written, from the first written to the last that arrived",
                min(ours.reached),
                "/s",
                peer=min(peer.reached),
                peer_name=PEERS["aiokafka"],
                note="Where less is reached than was written the times above hold the wait in the queue.",
            )
        )
    return rows


async def _measure(stack: RunningStack, bench: Bench) -> dict[Pace, Found]:
    schemas = Schemas(stack.cluster)
    await schemas.register()
    issuer = LocalIssuer.from_file(stack.signing_key_file, issuer=stack.issuer, audience=stack.audience)
    writer = Writer(stack.cluster.bootstrap)
    found: dict[Pace, Found] = {}
    async with AsyncExitStack() as open_things:
        tips = await open_things.enter_async_context(announcements(stack))
        sides = {"valkey": Side(tips, first_task(stack, schemas)), "known": Side(tips, second_task(stack, schemas))}
        for client in PEERS:
            watch, topic = await open_things.enter_async_context(bare_loop(stack, client))
            sides[client] = Side(watch, bare_record(topic))
        for pace in PACES:
            asked = {name: side for name, side in sides.items() if name != "known" or pace.again}
            result = found[pace] = Found()
            for side in asked.values():
                await paced(
                    writer, side, rate=pace.rate, names=names_of(pace.rate * WARM_S / (10 if bench.quick else 1))
                )
            busy_s, wall_s = time.process_time(), time.perf_counter()
            for turn in range(TURNS):
                people = names_of(pace.rate * pace.turn_s / (10 if bench.quick else 1))
                for name, side in asked.items():
                    names = people if name in OURS else names_of(len(people))
                    # Spread over the turn.
                    listeners = names[:: max(len(names) // pace.streams, 1)] if name in OURS else []
                    async with _streams(stack, issuer, listeners, known=name == "known") as streams:
                        began_s = await paced(writer, side, rate=pace.rate, names=names)
                        result.of(name).add(side.watch, names, began_s=began_s)
                        if listeners:
                            streams.acknowledged = side.watch.acknowledged
                            await until(lambda s=streams, n=listeners: all(one in s.arrived for one in n), LATE_S)
                            result.of("known-stream" if name == "known" else "stream").add(
                                streams, listeners, began_s=began_s
                            )
                    side.watch.clear()
                bench.say(f"{pace.rate}/s: turn {turn + 1} of {TURNS}")
            result.generator_share = (time.process_time() - busy_s) / (time.perf_counter() - wall_s)
            missing = {name: one.missing for name, one in result.by_side.items() if one.missing}
            if missing:
                bench.say(f"at {pace.rate}/s these never arrived: {missing}")
            if missing.keys() & {"valkey", "known"}:
                raise SystemExit("a signal got no tip")
    writer.close()
    return found


def names_of(count: float) -> list[str]:
    return [f"bench-{uuid.uuid4().hex}" for _ in range(int(count))]


def first_task(stack: RunningStack, schemas: Schemas) -> Send:
    """A new task for a user of its own: their first tip has to follow."""
    return _task(stack, schemas, "1", "Water the plants")


def second_task(stack: RunningStack, schemas: Schemas) -> Send:
    """Another task of the same user: a tip that has heard of it has to follow."""
    return _task(stack, schemas, "2", "Call the plumber")


def _task(stack: RunningStack, schemas: Schemas, external_id: str, title: str) -> Send:
    def record(name: str) -> tuple[str, bytes]:
        upsert = signal_pb2.TaskUpserted(external_id=external_id, title=title, priority=2)
        signal = signal_pb2.Signal(user_id=name, source="bench", event_id=f"{name}-{external_id}", task_upserted=upsert)
        return stack.cluster.name("signals"), schemas.frame("signals", signal)

    return record


def bare_record(topic: str) -> Send:
    def record(_: str) -> tuple[str, bytes]:
        return topic, bytes(80)

    return record


async def paced(writer: Writer, side: Side, *, rate: int, names: Sequence[str]) -> float:
    """Write these at this rate and wait until they have arrived, or nothing has for LATE_S; says when it began."""
    records = [(name, *side.send(name)) for name in names]
    loop = asyncio.get_running_loop()
    began_s, start_s = time.perf_counter(), loop.time()
    for index, (name, topic, value) in enumerate(records):
        delay_s = start_s + index / rate - loop.time()
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        writer.write(topic, name, value, side.watch)
    watch, heard, missing, late_s = side.watch, 0, names, loop.time() + LATE_S
    while (missing or len(watch.acknowledged) < len(names)) and loop.time() < late_s:
        await asyncio.sleep(0.05)
        if len(watch.arrived) > heard:
            heard, late_s = len(watch.arrived), loop.time() + LATE_S
            missing = [name for name in missing if name not in watch.arrived]
    return began_s


async def until(done: Callable[[], bool], timeout_s: float) -> None:
    """Wait for it, no longer than that."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while not done():
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def announcements(stack: RunningStack) -> AsyncIterator[Stopwatch]:
    watch = Stopwatch()
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: Announcements(watch), "127.0.0.1", stack.ports["valkey"]
    )
    try:
        yield watch
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def _streams(
    stack: RunningStack, issuer: LocalIssuer, users: Sequence[str], *, known: bool = False
) -> AsyncIterator[Stopwatch]:
    """A stream of the edge open for each of these users; of who is not known it hears that they have no tip, else it would tell the engine of them."""
    watch = Stopwatch()
    loop = asyncio.get_running_loop()
    with Valkey.from_url(stack.valkey_url) as plain:
        for user in () if known else users:
            silent = decision_pb2.Tip(user_id=user).SerializeToString()
            # Not announced: that is what is measured.
            plain.hset(
                tip_key(user), mapping={"epoch": "0", "offset": 0, "decided_ms": 0, "decision_id": "", "tip": silent}
            )
    opened: list[Stream] = []
    try:
        for user in users:
            _, stream = await loop.create_connection(
                lambda user=user: Stream(user, issuer.mint(user), watch), "127.0.0.1", stack.ports["edge"]
            )
            opened.append(stream)
            await asyncio.wait_for(stream.answered, LATE_S)
        yield watch
    finally:
        for stream in opened:
            stream.close()


@contextlib.asynccontextmanager
async def bare_loop(stack: RunningStack, client: str) -> AsyncIterator[tuple[Stopwatch, str]]:
    """The loop as a process of its own, its last topic followed here; gives its first topic."""
    watch = Stopwatch()
    names = [f"bench-{uuid.uuid4().hex[:8]}-{hop}" for hop in "abc"]
    admin = AdminClient({"bootstrap.servers": stack.cluster.bootstrap})
    for created in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        created.result()
    script = Path(__file__).with_name("bare.py")
    argv = (sys.executable, str(script), client, stack.cluster.bootstrap, *names)
    loop = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    follow = {"aiokafka": follow_aiokafka, "librdkafka": follow_librdkafka}[client]
    try:
        async with follow(stack.cluster.bootstrap, names[2], watch):
            assert loop.stdout is not None
            for _ in range(2):
                line = await asyncio.to_thread(loop.stdout.readline)
                assert line.startswith("ready"), f"the bare loop did not start: {line}"
            yield watch, names[0]
    finally:
        loop.kill()
        loop.wait(10)
        for deleted in admin.delete_topics(names).values():
            deleted.result()

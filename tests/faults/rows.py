"""The faults, each a function that does it to a running stack while events are written, and returns when it is over.

None of them checks anything: the oracle does.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from valkey import Valkey

from tests.faults.oracle import Oracle
from tests.faults.stack import Stack
from tests.faults.traffic import Mix, Traffic

KILL, STOP, CONT, TERM, INT = (
    signal.SIGKILL,
    signal.SIGSTOP,
    signal.SIGCONT,
    signal.SIGTERM,
    signal.SIGINT,
)
CORES = ("core-0", "core-1")


@dataclass(slots=True)
class Scene:
    """What a fault is done to. `probe` looks for what is committed and not durable; `notes` go into the report."""

    stack: Stack
    chance: random.Random
    probe: Callable[[], None]
    oracle: Oracle
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What the fault itself found wrong, beside the oracle."""

    def between(self, low_s: float, high_s: float) -> None:
        self.stack.wait(self.chance.uniform(low_s, high_s))


Do = Callable[[Scene], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    id: str
    what: str
    do: Do
    mix: Mix = field(default_factory=Mix)
    rate: float = 80.0
    rebuilt: bool = False
    """Every core worker has recovered its rows since the fault."""


def kill_ten_times(scene: Scene) -> None:
    for turn in range(10):
        scene.between(0.3, 3.0)
        scene.stack.workers[scene.chance.choice(CORES)].send(KILL)
        if turn % 3 == 2:
            scene.probe()
    scene.stack.wait(1)


def kill_and_delete_the_disk(scene: Scene) -> None:
    for name in CORES:
        scene.between(1, 2)
        worker = scene.stack.workers[name]
        worker.end(KILL)
        shutil.rmtree(worker.data)
        worker.start()
    scene.stack.wait(1)


def stop_and_go_on(scene: Scene) -> None:
    """Longer than the session: Kafka gives its partitions away, then it wakes."""
    worker = scene.stack.workers["core-0"]
    scene.stack.wait(2)
    exits = len(worker.exits)
    worker.send(STOP)
    scene.stack.wait(25)
    scene.probe()
    worker.send(CONT)
    scene.stack.wait(3)
    scene.notes.append(f"woken worker ended with {worker.exits[exits:]}")


def write_late(scene: Scene, *, recover_first: bool) -> None:
    """Bytes that a stopped worker had in its socket, written by hand: rows as they were before. Then compaction."""
    stack, prefix = scene.stack, scene.stack.running.prefix
    run = f"quiet-{'seen' if recover_first else 'unseen'}-{scene.chance.randrange(10**6)}"
    quiet = Traffic(stack.running.bootstrap, prefix, run=run, seed=0, rate=40, users=20)
    quiet.start()
    stack.wait(8)
    quiet.stop()
    # From here on nobody writes of these people: what is written late stays the last.
    stack.wait(6)
    first: dict[tuple[int, bytes], bytes] = {}
    last: dict[tuple[int, bytes], bytes] = {}
    for line in scene.oracle.log.news("rows", again=True):
        if line.key.decode() in quiet.users and line.value is not None:
            first.setdefault((line.partition, line.key), line.value)
            last[line.partition, line.key] = line.value
    older = {key: value for key, value in first.items() if last[key] != value}
    producer = Producer({"bootstrap.servers": stack.running.bootstrap, "log_level": 0})
    for (number, key), value in older.items():
        producer.produce(f"{prefix}rows", value, key, number)
    assert producer.flush(30) == 0
    scene.notes.append(f"{len(older)} older rows written")
    if recover_first:
        for name in CORES:
            stack.workers[name].send(KILL)
        stack.wait(6)
    _compact(scene)
    for name in CORES:
        stack.workers[name].send(KILL)
    stack.wait(2)


def _compact(scene: Scene) -> None:
    """Make the broker compact oo.rows now, as it would after a day; returns when it has."""
    prefix = scene.stack.running.prefix
    client = AdminClient({"bootstrap.servers": scene.stack.running.bootstrap, "log_level": 0})
    fast = {"min.compaction.lag.ms": "0", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001"}
    slow = {"min.compaction.lag.ms": "86400000", "segment.ms": "604800000", "min.cleanable.dirty.ratio": "0.5"}

    def alter(settings: dict[str, str]) -> None:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, f"{prefix}rows", incremental_configs=entries)
        for future in client.incremental_alter_configs([resource]).values():
            future.result(30)

    def count() -> int:
        return sum(1 for _ in scene.oracle.log.news("rows", again=True))

    before = count()
    alter(fast)
    try:
        # A segment is closed by the next write after its time: the writing that goes on does it.
        took_s = scene.stack.until(lambda: count() < before * 0.6, what="compaction", patience_s=120)
        scene.stack.wait(18)  # one more turn of the cleaner, for what was written meanwhile
        scene.notes.append(f"compacted from {before} to {count()} records after {took_s:.0f} s")
    finally:
        alter(slow)


def roll(scene: Scene) -> None:
    """SIGTERM to one after the other; each has to drain and commit within 10 s."""
    longest_s = 0.0
    for name in (*CORES, "publish", "record", *CORES):
        scene.stack.wait(1)
        worker = scene.stack.workers[name]
        took_s = worker.end(TERM)
        longest_s = max(longest_s, took_s)
        if worker.exits[-1] != 0:
            scene.problems.append(f"{name} ended with {worker.exits[-1]} after SIGTERM")
        scene.probe()
        scene.stack.start(name)
    scene.notes.append(f"longest stop {longest_s:.1f} s")


def add_and_remove(scene: Scene) -> None:
    worker = scene.stack.workers["core-2"]
    for turn in range(3):
        worker.start()
        scene.stack.wait(5)
        if turn % 2:
            worker.end(KILL)
        else:
            worker.end(TERM)
        scene.stack.wait(5)


def kill_in_recovery(scene: Scene) -> None:
    """Again while it starts: in its imports, its join, its recovery and its first batches."""
    for name in CORES:
        scene.stack.workers[name].send(KILL)
    for delay_s in (1.5, 2.5, 3.0, 3.5, 4.0, 2.0):
        scene.stack.wait(delay_s)
        for name in CORES:
            scene.stack.workers[name].send(KILL)
    scene.probe()
    scene.stack.wait(1)


def kill_in_rebalance(scene: Scene) -> None:
    """A third worker joins or leaves, and one that gives partitions away, or takes them, dies meanwhile."""
    third = scene.stack.workers["core-2"]
    for _ in range(3):
        third.start()
        scene.stack.until(third.healthy, what="core-2 healthy")
        scene.between(0.0, 1.0)
        scene.stack.workers[scene.chance.choice(CORES)].send(KILL)
        scene.between(2.0, 4.0)
        third.send(TERM)
        third.wanted = False
        scene.between(0.0, 0.5)
        scene.stack.workers[scene.chance.choice(CORES)].send(KILL)
        scene.stack.wait(3)
    third.end(TERM)
    scene.probe()


def kill_the_broker(scene: Scene) -> None:
    scene.stack.wait(3)
    scene.stack.kill_server("kafka")
    scene.stack.wait(1)


def stop_the_broker(scene: Scene, *, seconds: float) -> None:
    scene.stack.wait(3)
    scene.stack.signal_server("kafka", STOP)
    try:
        scene.stack.wait(seconds)
    finally:
        scene.stack.signal_server("kafka", CONT)
    scene.stack.wait(1)


def take_postgres_away(scene: Scene) -> None:
    scene.stack.wait(2)
    with scene.stack.without("postgres", INT):
        scene.stack.wait(15)


def empty_valkey(scene: Scene) -> None:
    """Killed, its files deleted; then emptied while it runs."""
    scene.stack.wait(4)
    with scene.stack.without("valkey", KILL):
        scene.stack.wait(3)
        shutil.rmtree(scene.stack.running.folder.data("valkey") / "appendonlydir", ignore_errors=True)
    scene.stack.wait(3)
    with Valkey.from_url(scene.stack.running.valkey_url) as client:
        client.flushall()
    scene.stack.wait(1)


def take_the_registry_away(scene: Scene) -> None:
    """Running workers have to go on: they catch up while it is away."""
    scene.stack.wait(2)
    with scene.stack.without("registry", KILL):
        scene.stack.wait(8)
        behind = scene.oracle.log.ends("signals")
        group = f"{scene.stack.running.prefix}core".replace(".", "-")

        def taken() -> bool:
            done = scene.oracle.log.committed(group, "signals")
            return all(done[number] >= end for number, end in behind.items())

        took_s = scene.stack.until(taken, what="signals taken while the registry is away", patience_s=60)
        scene.notes.append(f"caught up in {took_s:.1f} s while it was away")


def kill_the_writers_of_views(scene: Scene) -> None:
    for _ in range(4):
        for name in ("publish", "record"):
            scene.between(0.5, 2.5)
            scene.stack.workers[name].send(KILL)
    scene.stack.wait(1)


def nothing(seconds: float) -> Do:
    def do(scene: Scene) -> None:
        scene.stack.wait(seconds)
        scene.probe()

    return do


ROWS = (
    Row("worker-kill", "worker killed ten times at random", kill_ten_times),
    Row("worker-stop", "worker stopped for 25 s and woken (a zombie)", stop_and_go_on),
    Row("broker-kill", "broker killed", kill_the_broker),
    Row("broker-stop", "broker stopped for 15 s, longer than a delivery may take", lambda s: stop_the_broker(s, seconds=15)),
    Row("kill-in-recovery", "workers killed again while they recover, six times", kill_in_recovery, rebuilt=True),
    Row("kill-in-rebalance", "workers killed while others join and leave", kill_in_rebalance),
    Row("rolling-stop", "every process ended by SIGTERM and started, one after the other", roll),
    Row("add-remove", "a worker added and removed every 5 s", add_and_remove),
    Row("disk-deleted", "worker killed and its disk deleted", kill_and_delete_the_disk, rebuilt=True),
    Row("postgres-away", "PostgreSQL stopped for 15 s", take_postgres_away),
    Row("valkey-emptied", "Valkey killed, its files deleted, and emptied again", empty_valkey),
    Row("registry-away", "registry killed: running workers go on", take_the_registry_away),
    Row("views-kill", "publish and record killed four times each", kill_the_writers_of_views),
    Row("bad-500", "500 bad in 2,000, and a kill every second", kill_ten_times, Mix(bad_share=0.25), rate=110),
    Row("late-doubled", "a fifth sent twice, a fifth late by up to 10 min, with ten kills", kill_ten_times, Mix(duplicate_share=0.2, late_share=0.2)),
    Row("clocks-off", "producers' clocks an hour off, both ways, with ten kills", kill_ten_times, Mix(skew_s=3600)),
    Row("hot-user", "one user with 90 % of the events", nothing(12), Mix(hot_share=0.9)),
    Row("late-write", "older rows written late, workers recover, then compaction, then rebuilt", lambda s: write_late(s, recover_first=True), rebuilt=True),
    Row("late-write-unseen", "older rows written late, compaction before any recovery, then rebuilt", lambda s: write_late(s, recover_first=False), rebuilt=True),
)  # fmt: skip

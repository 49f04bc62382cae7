"""Core workers over a backlog: starts them against a stack of servers, writes signals, waits until all is folded.

Processor times are those of the core processes alone, all their threads, without the broker's.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import confluent_kafka
import psutil

from deploy.stack import groups
from deploy.stack.local import python_env
from deploy.stack.running import RunningStack
from oo.v1 import signal_pb2
from streams.clock import clock_ms
from streams.frames import Frames
from streams.topics import PARTITIONS
from streams.units import MINUTE_MS
from tests.agents.build import activity, completed, event, task

TIMEOUT_S = 300.0
TASKS = 10
"""Of each person, before anything is measured."""
SHARES = {"new": 0.35, "changed": 0.25, "done": 0.25, "event": 0.1, "activity": 0.05}

Signal = signal_pb2.Signal


@dataclass(slots=True)
class Core:
    """One running worker."""

    name: str
    process: subprocess.Popen[bytes]

    @property
    def cpu_s(self) -> float:
        """Processor seconds so far, user and system."""
        spent = psutil.Process(self.process.pid).cpu_times()
        return float(spent.user + spent.system)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal it and wait."""
        self.process.send_signal(number)
        self.process.wait(30)


@dataclass(slots=True)
class Cores:
    """The core workers of one stack, which runs no other."""

    stack: RunningStack
    _all: list[Core] = field(default_factory=list)

    def start(self, name: str, *, under: Sequence[str] = ()) -> Core:
        """Start one; `under` is a command that runs the rest of its line."""
        folder = self.stack.folder.data(name)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                (*under, sys.executable, "-m", "agents", "core"),
                env={**python_env(), **self.stack.environment(name)},
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        core = Core(name, process)
        self._all.append(core)
        return core

    def until_shared(self, count: int) -> None:
        """Wait until this many members hold all partitions of the journal between them, each some."""
        journal = self.stack.cluster.name("journal")

        def shared() -> bool:
            members = [one for one in self._view().members if one.group == self._group]
            held = [[place for place in member.partitions if place[0] == journal] for member in members]
            return len(held) == count and all(held) and sum(map(len, held)) == PARTITIONS

        _until(shared, f"{count} workers share the journal")

    def until_folded(self) -> None:
        """Wait until every signal is admitted and every journal record folded, and both are committed."""
        topics = tuple(
            (f"{self.stack.cluster.prefix}{name}", n) for name in ("signals", "journal") for n in range(PARTITIONS)
        )

        def folded() -> bool:
            view = self._view()
            return view.lag(self._group, topics) == 0

        _until(folded, "all is folded")

    def until_passed(self) -> None:
        """Wait until what stands in the topics now is folded and committed, whatever comes meanwhile."""
        for name in ("signals", "journal"):
            places = [(f"{self.stack.cluster.prefix}{name}", number) for number in range(PARTITIONS)]
            offsets = self._view().offsets
            ends = {place: offsets[place].end for place in places}

            def passed(ends: dict[tuple[str, int], int] = ends) -> bool:
                done = self._view().committed.get(self._group, {})
                return all(done.get(place, 0) >= end for place, end in ends.items())

            _until(passed, f"what stands in {name} is committed")

    @property
    def newest(self) -> Core:
        """Who was started last."""
        return self._all[-1]

    def close(self) -> None:
        for core in self._all:
            if core.process.poll() is None:
                core.process.terminate()
        for core in self._all:
            with contextlib.suppress(subprocess.TimeoutExpired):
                core.process.wait(15)
            core.process.kill()
            core.process.wait()

    @property
    def _group(self) -> str:
        return self.stack.cluster.group("core")

    def _view(self) -> groups.View:
        return groups.view(self.stack.cluster)


@contextlib.contextmanager
def cores(stack: RunningStack) -> Iterator[Cores]:
    """None runs yet; all are ended with the block."""
    running = Cores(stack)
    try:
        yield running
    finally:
        running.close()


def homes(users: Sequence[str]) -> Iterator[Signal]:
    """What each user has at the beginning: some tasks and events."""
    now_ms = clock_ms()
    for user in users:
        chance = random.Random(user)
        for number in range(TASKS):
            yield _task(user, number, chance, now_ms)
        yield _event(user, 0, chance, now_ms)


def backlog(users: Sequence[str], count: int, *, seed: int) -> Iterator[Signal]:
    """A day's mix: tasks come, change and are done, an event, a sign of activity."""
    chance, now_ms = random.Random(seed), clock_ms()
    kinds, weights = list(SHARES), list(SHARES.values())
    newest = dict.fromkeys(users, TASKS - 1)
    for number in range(count):
        user = chance.choice(users)
        kind = chance.choices(kinds, weights)[0]
        if kind == "new":
            newest[user] += 1
        some = chance.randint(max(0, newest[user] - TASKS), newest[user])
        if kind in ("new", "changed"):
            yield _task(user, newest[user] if kind == "new" else some, chance, now_ms)
        elif kind == "done":
            yield completed(f"{some}", user=user)
        elif kind == "event":
            yield _event(user, number, chance, now_ms)
        else:
            yield activity(user=user)


def _task(user: str, number: int, chance: random.Random, now_ms: int) -> Signal:
    due_ms = now_ms + chance.randrange(1, 14 * 24 * 60) * MINUTE_MS if chance.random() < 0.5 else 0
    minutes, priority = chance.choice((0, 15, 30, 60)), chance.choice((0, 0, 1, 2, 3))
    return task(f"{number}", title=f"Task {number}", priority=priority, due_ms=due_ms, minutes=minutes, user=user)


def _event(user: str, number: int, chance: random.Random, now_ms: int) -> Signal:
    start_ms = now_ms + chance.randrange(60, 7 * 24 * 60) * MINUTE_MS
    return event(f"{number}", start_ms=start_ms, end_ms=start_ms + 45 * MINUTE_MS, user=user)


def framed(schemas: Frames, signals: Iterable[Signal], *, run: str) -> list[tuple[bytes, bytes]]:
    """(key, value) of each as a producer writes it, with event ids of their own."""
    records = []
    for number, one in enumerate(signals):
        one.event_id = f"{run}-{number}"
        records.append((one.user_id.encode(), schemas.frame("signals", one)))
    return records


def write(bootstrap: str, topic: str, records: Iterable[tuple[bytes, bytes]]) -> None:
    """As fast as Kafka takes them; returns when it has them all."""
    client = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    for key, value in records:
        client.produce(topic, value, key)
    assert client.flush(60) == 0


def _until(done: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + TIMEOUT_S

    def is_done() -> bool:
        try:
            return done()
        except (TimeoutError, confluent_kafka.KafkaException):
            return False  # A busy broker did not answer in time: it is asked again.

    while not is_done():
        if time.monotonic() > until_s:
            raise SystemExit(f"waited {TIMEOUT_S:g} s in vain until {what}")
        time.sleep(0.2)

"""Faults of our own processes: killed, stopped, started in turn, held up.

Each does its fault to a running stack while events are written, and returns when it is over. None checks the result.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time

from confluent_kafka import Producer
from google.protobuf.json_format import MessageToJson

from connectors.leaving import leave as leave_request
from connectors.leaving import word_of
from streams.partitioner import partition_of
from streams.topics import PARTITIONS
from tests.faults.compaction import compact
from tests.faults.hold import held
from tests.faults.scene import CONT, CORES, KILL, STOP, TERM, Do, Scene
from tests.faults.stack import oo
from tests.faults.traffic import JSON, Traffic


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


def stop_and_go_on(scene: Scene, *, seconds: float) -> None:
    """Longer than the session: Kafka gives its partitions away, then it wakes."""
    worker = scene.stack.workers["core-0"]
    scene.stack.wait(2)
    exits = len(worker.exits)
    worker.send(STOP)
    try:
        scene.stack.wait(seconds)
        scene.probe()
    finally:
        worker.send(CONT)
    scene.stack.wait(3)
    scene.notes.append(f"woken worker ended with {worker.exits[exits:]}")


def stop_then_compact_and_rebuild(scene: Scene) -> None:
    """What a zombie left behind has to survive a compaction, and be put right by who reads nothing else."""
    stop_and_go_on(scene, seconds=90)
    compact(scene)
    kill_and_delete_the_disk(scene)


def write_late(scene: Scene, *, recover_first: bool) -> None:
    """Bytes that a stopped worker had in its socket, written by hand: rows as they were before. Then compaction."""
    stack, prefix = scene.stack, scene.stack.running.cluster.prefix
    run = f"quiet-{'seen' if recover_first else 'unseen'}-{scene.chance.randrange(10**6)}"
    quiet = Traffic(stack.running, run=run, seed=0, rate=40, users=20)
    quiet.start()
    stack.wait(8)
    quiet.stop()
    # From here on nobody writes of these people: what is written late stays the last.
    scene.goes_on("signals", "reactions")
    scene.goes_on("journal")
    names = {stack.running.pseudonym(user) for user in quiet.users}
    first: dict[tuple[int, bytes], bytes] = {}
    last: dict[tuple[int, bytes], bytes] = {}
    for line in scene.oracle.log.news("rows", again=True):
        if line.key.decode() in names and line.value is not None:
            first.setdefault((line.partition, line.key), line.value)
            last[line.partition, line.key] = line.value
    older = {key: value for key, value in first.items() if last[key] != value}
    producer = Producer({"bootstrap.servers": stack.running.cluster.bootstrap, "log_level": 0})
    for (number, key), value in older.items():
        producer.produce(f"{prefix}rows", value, key, number)
    assert producer.flush(30) == 0
    scene.notes.append(f"{len(older)} older rows written")
    if recover_first:
        for name in CORES:
            stack.workers[name].send(KILL)
        scene.goes_on("journal")
    compact(scene)
    for name in CORES:
        stack.workers[name].send(KILL)
    stack.wait(2)


def leave(scene: Scene) -> None:
    """Of some people every other one leaves while all go on to write and workers are killed; then empty disks, and all groups' views are what they were."""
    stack, prefix = scene.stack, scene.stack.running.cluster.prefix
    run = f"leaving-{scene.chance.randrange(10**6)}"
    people = Traffic(stack.running, run=run, seed=0, rate=40, users=20)
    people.start()
    stack.wait(6)
    producer = Producer({"bootstrap.servers": stack.running.cluster.bootstrap, "log_level": 0})
    for user in people.users[::2]:
        request = asyncio.run(
            leave_request(stack.running.cluster, user, receipt=f"receipt-{scene.chance.randrange(10**12):012}")
        )
        value = MessageToJson(request).encode()
        number = partition_of(user.encode(), PARTITIONS)
        producer.produce(f"{prefix}subject-requests", value, user.encode(), number, headers=list(JSON))
        assert producer.flush(30) == 0
        scene.between(0.2, 0.8)
        stack.workers[scene.chance.choice(CORES)].send(KILL)
    people.stop()
    scene.probe()
    kill_and_delete_the_disk(scene)
    # One after the other: each ends behind what the one before has given it.
    scene.goes_on("signals", "reactions", "subject-requests")
    scene.goes_on("journal")
    gone = [
        user
        for user in people.users[::2]
        if not asyncio.run(word_of(stack.running.cluster, stack.running.pseudonym(user)))
    ]
    if gone:
        scene.problems.append(f"{len(gone)} asked to leave, and nothing says that they did")


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


def kill_the_writers_of_views(scene: Scene) -> None:
    for _ in range(4):
        for name in ("publish", "record"):
            scene.between(0.5, 2.5)
            scene.stack.workers[name].send(KILL)
    scene.stack.wait(1)


def nothing(seconds: float) -> Do:
    """No fault but the events themselves."""

    def do(scene: Scene) -> None:
        scene.stack.wait(seconds)
        scene.probe()

    return do


def block_the_loop(scene: Scene) -> None:
    """Whole processes in short bursts, then the loop's thread alone, for less than the session: none may end."""
    exits = {name: len(scene.stack.workers[name].exits) for name in CORES}
    scene.stack.wait(2)
    until_s = time.monotonic() + 15
    while time.monotonic() < until_s:
        for number, pause_s in ((STOP, 0.2), (CONT, 0.3)):
            for name in CORES:
                scene.stack.workers[name].send(number)
            time.sleep(pause_s)
    for name, seconds in (("core-0", 4), ("core-1", 8)):
        pid = scene.stack.workers[name].pid
        assert pid is not None
        with held(pid):
            # Not the stack's own wait: it would look whether the child has ended.
            time.sleep(seconds)
        scene.stack.wait(2)
    scene.probe()
    ended = {name: scene.stack.workers[name].exits[exits[name] :] for name in CORES}
    if any(ended.values()):
        scene.problems.append(f"a worker ended although its loop only stood for less than the session: {ended}")


def kill_by_status(scene: Scene) -> None:
    """The pids that `oo status` names, each twice; the stack's own supervisor has to bring them back."""
    state = f"--state={scene.stack.running.folder.root}"

    def parts() -> dict[str, dict[str, object]]:
        # Status 1 says that not all is ready: that is looked at here.
        shown = json.loads(oo("status", "--json", state, statuses=(0, 1)))["workers"]
        return {part["id"]: part for part in shown if part["id"] != "edge"}

    before = parts()
    scene.stack.wait(2)
    for _ in range(2):
        for name in scene.chance.sample(sorted(before), len(before)):
            pid = parts()[name]["pid"]
            if isinstance(pid, int):
                os.kill(pid, KILL)
            scene.between(0.2, 1.5)
        took_s = scene.stack.until(
            lambda: all(part["ready"] for part in parts().values()), what="every process ready again"
        )
        scene.notes.append(f"all ready again after {took_s:.1f} s")
    scene.probe()
    restarts = {name: part["restarts"] for name, part in parts().items()}
    scene.notes.append(f"restarts by the supervisor: {restarts}")
    if any(restarts[name] == before[name]["restarts"] for name in before):
        scene.problems.append(f"not every process was started again: {restarts}")

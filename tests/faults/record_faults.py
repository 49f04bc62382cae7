"""Single records that are worse than bad: one that ends whoever handles it, and such as were taken back.

Each does its fault to a running stack while events are written, and returns when it is over.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid

from confluent_kafka import KafkaError, Message, Producer

from streams.topics import topics
from tests.faults.input_faults import Pen, task
from tests.faults.log import Log
from tests.faults.poisoned import END_THE_DOOR, END_THE_FOLD
from tests.faults.scene import CORES, KILL, TERM, Scene
from tests.faults.stack import oo
from tests.faults.traffic import JSON, Sent

JUNK = (b"junk", b"", b"\x00\x00\x00\x00\x01\x00\xff\xff", b"\x00" * 40)
"""No frame, nothing, garbage behind a frame, and the header of nothing we know."""
Place = tuple[str, int, int]


def poison(scene: Scene) -> None:
    """One record that ends every process at the door, and one in the journal; good ones stand behind both."""
    stack, user = scene.stack, scene.traffic.users[0]
    _run(scene, "tests.faults.poisoned")
    exits = {name: len(stack.workers[name].exits) for name in CORES}
    log = Log(stack.running.cluster.bootstrap, stack.running.cluster.prefix)
    try:
        before = sum(log.ends("set-aside").values())
        pen, began_s = Pen(scene), time.monotonic()
        pen.write(json.dumps(task(user, title=END_THE_DOOR)).encode(), reason="set-aside", headers=JSON)
        pen.write(json.dumps(task(user, title=END_THE_FOLD)).encode(), user=user, headers=JSON)
        pen.write(json.dumps(task(user)).encode(), user=user, headers=JSON)
        # Not the oracle: it would fold what no worker is past yet.
        stack.until(lambda: sum(log.ends("set-aside").values()) > before, what="set aside in the journal")
        scene.notes.append(f"both set aside after {time.monotonic() - began_s:.1f} s")
    finally:
        log.close()
    scene.goes_on("signals", "journal")
    ended = {name: stack.workers[name].exits[exits[name] :] for name in CORES}
    scene.notes.append(f"ends over them: {ended}")
    _run(scene, "agents")
    scene.probe()


def _run(scene: Scene, module: str) -> None:
    for name in CORES:
        worker = scene.stack.workers[name]
        worker.end(TERM)
        worker.module = module
    scene.stack.start(*CORES)


def take_back(scene: Scene) -> None:
    """Transactions that are aborted, committed and left open, over several partitions, with plain records in between."""
    stack, users = scene.stack, scene.traffic.users
    pen, gone = Pen(scene), []
    stack.wait(1)
    for turn in range(4):
        gone += _transaction(scene, users[turn], commit=False)
        pen.good()
        _transaction(scene, users[turn], commit=True)
        pen.good()
    open_ = _begin(scene)
    kept = _write(scene, open_, users[4], kept=True)
    stack.wait(2)
    scene.oracle.take()
    if early := [place for place in kept if place in scene.oracle.sources]:
        scene.problems.append(f"{len(early)} records of an open transaction were taken")
    open_.commit_transaction(60)
    scene.goes_on("signals")
    scene.oracle.take()
    if taken := [place for place in gone if place in scene.oracle.sources or place in scene.oracle.letters]:
        scene.problems.append(f"{len(taken)} aborted records were taken")
    scene.notes.append(f"{len(gone)} records aborted, {len(kept)} held back until their transaction was committed")
    scene.probe()


def litter(scene: Scene) -> None:
    """What is no message of ours, in every topic that only we write; then every process reads them all from its start."""
    stack, prefix = scene.stack, scene.stack.running.cluster.prefix
    client = Producer(
        {"bootstrap.servers": stack.running.cluster.bootstrap, "enable.idempotence": True, "log_level": 0}
    )
    told: list[Message] = []
    ours = [name for name, topic in topics(prefix).items() if not topic.public]
    for name in ours:
        for value in JUNK:
            client.produce(prefix + name, value, b"junk", 0, lambda _, message: told.append(message))
    assert client.flush(60) == 0 and len(told) == len(ours) * len(JUNK)
    for message in told:
        if message.topic() == f"{prefix}journal":
            partition, offset = message.partition(), message.offset()
            assert partition is not None and offset is not None
            scene.traffic.ledger.acknowledged["journal", partition, offset] = Sent("junk", "", "", reason="not-journal")
    stack.wait(2)
    for name in (*CORES, "publish", "record"):
        stack.workers[name].end(KILL)
        shutil.rmtree(stack.workers[name].data)
    stack.start(*CORES, "publish", "record")
    try:
        oo("dead-letters", "list", f"--state={stack.running.folder.root}")
    except RuntimeError as failed:
        scene.problems.append(str(failed)[:500])
    scene.goes_on("signals", "journal")
    scene.notes.append(f"{len(told)} records of junk in {len(ours)} topics")
    scene.probe()


def _begin(scene: Scene) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": scene.stack.running.cluster.bootstrap,
            "transactional.id": uuid.uuid4().hex,
            "log_level": 0,
        }
    )
    producer.init_transactions(60)
    producer.begin_transaction()
    return producer


def _transaction(scene: Scene, user: str, *, commit: bool) -> list[Place]:
    producer = _begin(scene)
    places = _write(scene, producer, user, kept=commit)
    if commit:
        producer.commit_transaction(60)
    else:
        producer.abort_transaction(60)
    return places


def _write(scene: Scene, producer: Producer, user: str, *, kept: bool) -> list[Place]:
    """Five records on each of three partitions; what is to be kept stands in the ledger."""
    told: list[tuple[KafkaError | None, Message]] = []
    body = json.dumps(task(user)).encode()
    for partition in (0, 3, 5):
        for _ in range(5):
            producer.produce(
                scene.stack.running.cluster.name("signals"),
                body,
                user.encode(),
                partition,
                lambda error, message: told.append((error, message)),
                headers=list(JSON),
            )
    assert producer.flush(60) == 0
    places: list[Place] = []
    for error, message in told:
        partition, offset = message.partition(), message.offset()
        assert error is None and partition is not None and offset is not None
        places.append(("signals", partition, offset))
        if kept:
            scene.traffic.ledger.acknowledged[places[-1]] = Sent("transaction", user, "pen")
    return places

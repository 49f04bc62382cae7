"""Whatever an outsider writes, to whichever topic: no process ends, nothing is lost, and the next good record goes through."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid

from command import called
from confluent_kafka import Producer
from outside import (
    client,
    core_pid,
    eventually,
    known,
    letters,
    send,
    settled,
    settled_tip,
    state_of,
    task,
    tip,
    verify,
)

from deploy.stack.running import RunningStack
from tests.fuzz.doors import Fuzz

JUNK = (b"junk", b"\x00\x00\x00\x00\x01\x00junk", b"", None, b"{}", b"\x00" * 60)
JSON = ("content-type", b"application/json")


def pids(stack: RunningStack) -> dict[str, int]:
    parts = (stack.folder.read() or {}).get("parts", {})
    return {name: part.get("pid") for name, part in parts.items() if name != "demo"}


def test_whatever_is_written_at_any_door_comes_out_exactly_once_and_no_process_ends(stack: RunningStack) -> None:
    fuzz = Fuzz(stack, seed=9)
    asyncio.run(fuzz.run(kafka=300, http=100, files=60, internal=65))
    assert fuzz.faults == []


def test_a_cloud_event_in_structured_mode_is_taken_and_counts_once(stack: RunningStack) -> None:
    user = f"cloud-{uuid.uuid4().hex[:8]}"
    data = {"user_id": user, "source": "mine", "task_upserted": {"external_id": "1", "title": "Call"}}
    event = {"specversion": "1.0", "id": "a", "source": f"x-{user}", "type": "t", "data": data}
    kind = [("content-type", b"application/cloudevents+json; charset=utf-8")]
    send(stack, "signals", event, headers=kind)
    again = {**data, "task_upserted": {"external_id": "1", "title": "Not again"}}
    send(stack, "signals", {**event, "data": again}, headers=kind)
    with client(stack, user) as http:
        assert settled_tip(stack, http)["title"] == "Call"


def test_a_letter_that_is_redriven_twice_counts_once(stack: RunningStack) -> None:
    user = f"twice-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", *(task(user, str(n), f"Task {n}", priority=1) for n in range(257)))
    settled(stack)
    mine = [one for one in letters(stack) if one["reason"] == "backlog-full"][-1]["id"]
    gone = ({"user_id": user, "source": "test", "task_removed": {"external_id": str(number)}} for number in range(2))
    send(stack, "signals", *gone)
    settled(stack)
    called("dead-letters", "redrive", "--as=redriver", mine, state_of(stack))
    called("dead-letters", "redrive", "--as=redriver", mine, "--again", state_of(stack))
    settled(stack)
    row = known(stack, user)
    assert len(row["tasks"]) == 255
    assert [one for one in row["tasks"] if one["external_id"] == "256"]


def test_junk_on_our_own_topics_ends_nothing_also_after_a_restart(stack: RunningStack) -> None:
    user = f"junk-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(user, "1", "Before the junk"))
    with client(stack, user) as http:
        assert eventually(lambda: tip(http)) is not None
    before, core = pids(stack), core_pid(stack)
    producer = Producer(stack.as_admin.cluster.rdkafka())
    table = stack.cluster.topics
    for name, topic in table.items():
        if topic.public:
            continue
        for partition in range(topic.partitions):
            for value in JUNK:
                for key in (user.encode(), b"\xff\xfe", None):
                    if key is None and topic.cleanup == "compact":
                        continue  # the broker refuses it
                    if value is None and name in ("rows", "tips"):
                        continue  # a deletion, which is no junk
                    producer.produce(topic.name, value, key, partition=partition, headers=[JSON])
        producer.poll(0)
    assert producer.flush(30) == 0
    send(stack, "signals", task(user, "2", "After the junk", priority=1))
    with client(stack, user) as http:
        assert eventually(lambda: (tip(http) or {}).get("title") == "After the junk")
    assert pids(stack) == before
    os.kill(core, signal.SIGKILL)
    eventually(lambda: core_pid(stack) not in (0, core))
    send(stack, "signals", {"user_id": user, "source": "test", "task_completed": {"external_id": "2"}})
    with client(stack, user) as http:
        assert eventually(lambda: (tip(http) or {}).get("title") == "Before the junk")
    assert verify(stack)["differences"] == 0
    assert "no-frame" in {one["reason"] for one in letters(stack)}
    for command in (("status",), ("topics",), ("policies",), ("state", "--user", user), ("dead-letters", "list")):
        called(*command, state_of(stack))

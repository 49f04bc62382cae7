"""A state folder from before: people have their own names in it, and rows that were written before rows were kept in columns. Core's
next start goes on from them; then everybody is given a pseudonym, and goes on from where they were.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest
from canary import given_out
from command import called, kill, oo
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from outside import SECURE, client, eventually, known, letters, send, settled, settled_tip, task, tip, verify
from test_restart import ready_anew
from test_words import OPEN

from deploy.keys import read_keys
from deploy.stack.running import RunningStack, open_stack
from deploy.stack.state import StateFolder
from oo.v1 import row_pb2
from streams.partitioner import partition_of
from streams.reader import read_partition
from streams.record import Record
from streams.sealing import open_row
from streams.topics import PARTITIONS
from streams.wire import payload
from tables.row import BLOCKS, spelled_out
from tests.patience import PATIENCE_S


def last_row(stack: RunningStack, user: str) -> Record:
    """The row that compaction would keep."""
    whose = stack.pseudonym(user).encode()
    number = partition_of(whose, PARTITIONS)

    async def read() -> list[Record]:
        lists = read_partition(stack.cluster, stack.cluster.name("rows"), number)
        return [record async for records in lists for record in records if record.key == whose]

    return asyncio.run(read())[-1]


def opened_row(stack: RunningStack, record: Record) -> bytes:
    assert record.value is not None
    assert record.key is not None
    keys = asyncio.run(read_keys(stack.cluster, stack.kek_dir))
    return open_row(payload(record.value), whose=record.key, keys=keys)


def blocks_of(stack: RunningStack, record: Record) -> list[str]:
    row = row_pb2.UserRow.FromString(opened_row(stack, record))
    return [name for name in BLOCKS if getattr(row, name)]


def write_as_before(stack: RunningStack, users: list[str]) -> None:
    """The same rows once more, as they were written before there were columns and seals; the changelog begins with them."""
    settings, name, begins = stack.as_admin.cluster.rdkafka(), stack.cluster.name("rows"), dict[int, int]()
    producer = Producer(settings)
    for user in users:
        record = last_row(stack, user)
        assert record.value is not None
        message = payload(record.value)
        old = spelled_out(row_pb2.UserRow.FromString(opened_row(stack, record))).SerializeToString(deterministic=True)
        head = record.value[: len(record.value) - len(message)]
        producer.produce(name, head + old, record.key, record.partition)
        assert producer.flush(20) == 0
        begins.setdefault(record.partition, last_row(stack, user).offset)
    admin = AdminClient(settings)
    # Kafka empties no topic that is only compacted.
    cleaned(admin, name, "compact,delete")
    for deleted in admin.delete_records([TopicPartition(name, *begin) for begin in begins.items()]).values():
        deleted.result(30)
    cleaned(admin, name, "compact")


def cleaned(admin: AdminClient, topic: str, how: str) -> None:
    entry = ConfigEntry("cleanup.policy", how, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(30)


def without_pseudonyms(state: Path) -> None:
    """As a build before them made a folder."""
    folder = StateFolder(state)
    folder.create()
    folder.mac_key_file.write_bytes(secrets.token_bytes(32))


def everybody_is_moved(state: Path, users: list[str]) -> None:
    """With one more, who has left; the first attempt ends at its worst moment."""
    at, stack = f"--state={state}", open_stack(state)
    gone, late = f"gone-{uuid.uuid4().hex[:8]}", f"late-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(gone, "1", "Call the dentist"), {**task(users[0], "9", "Buy a kite"), "nonsense": 1})
    settled(stack)
    (refused_id,) = [one["id"] for one in letters(stack) if one["reason"] == "bad-json"]
    oo("erase", "--user", gone, "--yes", at)
    settled(stack)
    tips, past = {}, {}
    for user in users:
        with client(stack, user) as http:
            tips[user] = settled_tip(stack, http)
            past[user] = http.get("/v1/tips").json()["items"]
    before = {user: known(stack, user) for user in users}
    oo("down", at)
    done = subprocess.run(
        (sys.executable, str(Path(__file__).with_name("cut_off.py")), late, "pseudonyms", "begin", at),
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(users) + 1} people have pseudonyms" in done.stdout
    oo("up", "--detach", "--no-demo", *SECURE, at)
    stack = open_stack(state)
    settled(stack)
    assert [
        place
        for place, data in given_out(stack)
        if place not in OPEN
        for user in (*users, gone, late)
        if user.encode() in data
    ] == []
    letter = json.loads(called("dead-letters", "show", refused_id, at).stdout)
    assert users[0].encode() in base64.b64decode(letter["original"]), (
        "a letter of before opens, and has the name inside"
    )
    looks = json.loads(called("audit", "--user", users[0], "--json", at).stdout)
    assert looks[0]["command"].startswith("oo state --reveal, 20"), "who looked before, and when"
    for user in users:
        assert stack.pseudonym(user) != user
        assert as_it_was(known(stack, user)) == as_it_was(before[user])
        with client(stack, user) as http:
            there = settled_tip(stack, http)
            assert (there["title"], there["why"]) == (tips[user]["title"], tips[user]["why"])
            # Of two of one moment the id says which is first, and the ids are new.
            assert titles(http.get("/v1/tips").json()["items"]) == titles(past[user])
            old = http.post("/v1/feedback", json={"decision_id": tips[user]["decision_id"], "reaction": "done"})
            assert old.status_code == 404 and "moved to pseudonyms" in old.json()["detail"]
            http.post("/v1/feedback", json={"decision_id": there["decision_id"], "reaction": "done"}).raise_for_status()
            eventually(lambda user=user: known(stack, user)["reactions"]["1h"]["done"], lambda n: n == 2)
    assert len(known(stack, late)["tasks"]) == 1
    assert known(stack, gone)["left"]["offset"] and not known(stack, gone)["tasks"]
    with client(stack, gone) as http:
        assert http.post("/v1/signals", json={"source": "x", "activity": {"kind": "y"}}).status_code == 403
        assert http.post("/v1/me").status_code == 202
        eventually(lambda: http.patch("/v1/me", json={"tips_per_day": 3}).status_code, lambda status: status == 202)
    settled(stack)
    found = verify(stack)
    assert (found["differences"], found["rows"]) == (0, len(users) + 2), found


def titles(items: list[dict[str, Any]]) -> list[str]:
    return sorted(f"{one['title']}: {one['outcome']}, {one['decided_at']}" for one in items)


def as_it_was(row: dict[str, Any]) -> dict[str, Any]:
    """Without where it stands, and without names that are new."""
    new = {"user_id", "journal_offset", "topic_id", "current_decision_id", "decision_id"}
    if isinstance(row, list):
        return [as_it_was(one) for one in row]
    return {name: as_it_was(one) for name, one in row.items() if name not in new} if isinstance(row, dict) else row


def starts_anew_without_its_store(stack: RunningStack) -> None:
    """What is not in the changelog is gone: core's next start has the rows that stand there only."""
    settled(stack)
    told = stack.folder.read() or {}
    supervisor, core = psutil.Process(told["supervisor"]["pid"]), told["parts"]["core-0"]["pid"]
    # Who starts it again sees its end once the store is gone.
    supervisor.suspend()
    try:
        kill(core)
        eventually(lambda: psutil.Process(core).status(), lambda status: status == psutil.STATUS_ZOMBIE)
        shutil.rmtree(stack.folder.data("core-0"))
    finally:
        supervisor.resume()
    eventually(lambda: ready_anew(stack, "core-0", core))


@pytest.mark.long(
    "tests/agents/test_rows.py::test_a_row_of_before_comes_out_as_it_stands",
    "tests/agents/test_moved.py::test_the_row_is_the_same_at_its_new_place_and_the_tip_that_stood_stands",
)
def test_rows_of_before_serve_their_tips_and_learn_on_after_an_upgrade() -> None:
    users = [f"old-{uuid.uuid4().hex[:8]}" for _ in range(3)]
    with tempfile.TemporaryDirectory(prefix="oo-upgrade-") as folder:
        state = Path(folder) / "state"
        without_pseudonyms(state)
        oo("up", "--detach", "--no-demo", *SECURE, f"--state={state}")
        try:
            stack = open_stack(state)
            tips = {}
            for user in users:
                send(stack, "signals", *(task(user, str(n), f"Task {n}") for n in range(3)))
                with client(stack, user) as http:
                    first = settled_tip(stack, http)["decision_id"]
                    http.post("/v1/feedback", json={"decision_id": first, "reaction": "snooze"}).raise_for_status()
                    eventually(
                        lambda http=http, first=first: (tip(http) or {"decision_id": first})["decision_id"] != first
                    )
                    tips[user] = settled_tip(stack, http)["decision_id"]
            before = {user: known(stack, user) for user in users}
            settled(stack)
            write_as_before(stack, users)
            assert [blocks_of(stack, last_row(stack, user)) for user in users] == [[], [], []]
            starts_anew_without_its_store(stack)
            for user in users:
                assert known(stack, user) == before[user]
                with client(stack, user) as http:
                    assert (eventually(lambda http=http: tip(http)) or {})["decision_id"] == tips[user]
                    http.post("/v1/feedback", json={"decision_id": tips[user], "reaction": "done"}).raise_for_status()
                    eventually(lambda user=user: known(stack, user)["reactions"]["1h"]["done"], lambda n: n == 1)
                    assert known(stack, user)["reactions"]["1h"]["snooze"] == 1
            settled(stack)
            for user in users:
                assert "task_columns" in blocks_of(stack, last_row(stack, user))
            found = verify(stack)
            assert (found["differences"], found["rows"]) == (0, len(users)), json.dumps(found)
            everybody_is_moved(state, users)
        finally:
            oo("down", f"--state={state}")

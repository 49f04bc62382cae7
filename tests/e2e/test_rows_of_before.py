"""A state folder whose rows were written before rows were kept in columns: the next start goes on from them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from pathlib import Path

from command import oo
from confluent_kafka import Producer
from outside import SECURE, client, eventually, known, send, settled, settled_tip, task, tip, verify

from deploy.keys import read_keys
from deploy.stack.running import RunningStack, open_stack
from oo.v1 import row_pb2
from streams.partitioner import partition_of
from streams.reader import read_partition
from streams.record import Record
from streams.sealing import open_row
from streams.topics import PARTITIONS
from streams.wire import payload
from tables.row import BLOCKS, spelled_out


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


def write_as_before(stack: RunningStack, user: str) -> None:
    """The same row once more, as it was written before there were columns and seals."""
    record = last_row(stack, user)
    assert record.value is not None
    message = payload(record.value)
    old = spelled_out(row_pb2.UserRow.FromString(opened_row(stack, record))).SerializeToString(deterministic=True)
    producer = Producer(stack.as_admin.cluster.rdkafka())
    head = record.value[: len(record.value) - len(message)]
    producer.produce(stack.cluster.name("rows"), head + old, record.key, record.partition)
    assert producer.flush(20) == 0


def test_rows_of_before_serve_their_tips_and_learn_on_after_an_upgrade() -> None:
    users = [f"old-{uuid.uuid4().hex[:8]}" for _ in range(3)]
    with tempfile.TemporaryDirectory(prefix="oo-upgrade-") as folder:
        state = Path(folder) / "state"
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
            for user in users:
                write_as_before(stack, user)
                assert blocks_of(stack, last_row(stack, user)) == []
            oo("down", f"--state={state}")
            # What is not in the changelog is gone: the next start has these rows only.
            (store,) = (state / "data").glob("core-*")
            shutil.rmtree(store)

            oo("up", "--detach", "--no-demo", *SECURE, f"--state={state}")
            stack = open_stack(state)
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
            assert (found["differences"], found["rows"]) == (0, len(users)), found
        finally:
            oo("down", f"--state={state}")

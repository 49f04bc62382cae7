"""An older row behind a newer one in the changelog, as a worker that was stopped and woke up leaves it."""

from __future__ import annotations

import asyncio
import uuid

from confluent_kafka import Producer
from outside import client, eventually, send, task, tip

from deploy.stack.running import RunningStack
from streams.partitioner import partition_of
from streams.reader import read_partition
from streams.record import Record
from streams.topics import PARTITIONS
from streams.wire import payload
from tables.row import fence_of


def rows_of(stack: RunningStack, user: str) -> list[Record]:
    """Every row written for the user, oldest first."""
    whose = stack.pseudonym(user).encode()
    number = partition_of(whose, PARTITIONS)

    async def read() -> list[Record]:
        lists = read_partition(stack.cluster, stack.cluster.name("rows"), number)
        return [record async for records in lists for record in records if record.key == whose]

    return asyncio.run(read())


def journal_offset(record: Record) -> int:
    assert record.value is not None
    return fence_of(payload(record.value)).offset


def test_the_owner_puts_its_own_row_behind_an_older_one(stack: RunningStack) -> None:
    user = f"zombie-{uuid.uuid4().hex[:8]}"
    for number in range(3):
        send(stack, "signals", task(user, str(number), f"Task {number}"))
        with client(stack, user) as http:
            eventually(lambda: tip(http))
        eventually(lambda: rows_of(stack, user), lambda found, number=number: len(found) > number)
    written = rows_of(stack, user)
    oldest, newest = written[0], written[-1]
    assert journal_offset(oldest) < journal_offset(newest)

    zombie = Producer(stack.as_admin.cluster.rdkafka())
    zombie.produce(stack.cluster.name("rows"), oldest.value, oldest.key, oldest.partition)
    assert zombie.flush(20) == 0

    last = eventually(lambda: rows_of(stack, user)[-1], lambda record: record.value == newest.value)
    assert last.offset > newest.offset

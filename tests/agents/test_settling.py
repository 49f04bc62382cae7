"""What stands in Kafka and on the disk when a round has settled, and what must not where an output failed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from sealed import give, keys_in

from agents.assigned import Assigned
from agents.fold import PartitionState
from agents.refuse import DeadLetters
from agents.rows import TableRows, head, order_in
from agents.set_aside import Aside
from agents.settling import Settling
from agents.step import Entry
from deploy.stack.running import RunningStack
from oo.v1 import row_pb2
from streams.producer import DeliveryFailed, Producer
from streams.schemas import Schemas
from streams.sealing import Sealing
from tables.store import MemoryStore
from tables.table import Table
from tables.totals import Totals
from tests.agents.build import JOURNAL_ID, MONDAY_MS, PRIOR, entry, task
from tests.agents.process import Topics


@pytest.fixture
def under(servers: RunningStack) -> Iterator[Topics]:
    topics = Topics(servers)
    yield topics
    topics.close()


def record(offset: int, *, user: str = "ada") -> Entry:
    return entry(task(f"t{offset}", user=user), offset=offset, time_ms=MONDAY_MS + offset, user=user)


class Fold:
    """Partitions whose rows stand in memory, and what settles them."""

    def __init__(self, under: Topics, schemas: Schemas, producer: Producer, **instead: str) -> None:
        topics = under.cluster.topics
        topics |= {short: replace(topics[short], name=name) for short, name in instead.items()}
        letters = DeadLetters(producer, schemas, topics["dead-letters"].name, topic_ids={})
        self.keys = keys_in(Path(mkdtemp(prefix="oo-kek-")))
        self.settling = Settling(
            end_keys=self.end_keys,
            topics=topics,
            schemas=schemas,
            sealing=Sealing(schemas, self.keys),
            producer=producer,
            dead_letters=letters,
        )
        self.assigned = [self._assigned(number, topics["rows"].name, schemas, producer) for number in range(2)]

    async def end_keys(self, whose: bytes) -> None:
        self.keys.forget(whose)

    def apply(self, one: Entry, *, partition: int = 0) -> asyncio.Future[None]:
        assigned = self.assigned[partition]
        if self.keys.lacks(one.user_id.encode()):
            give(self.keys, one.user_id.encode())
        outputs = assigned.state.apply(one)
        assigned.folding = one.offset
        assert outputs.decision is not None
        self.settling.output(partition, "decisions", one.user_id.encode(), outputs.decision)
        return self.settling.folded(assigned, 1)

    def offset(self, user: str, *, partition: int = 0) -> int | None:
        """Of the row on this person's disk."""
        value = self.assigned[partition].table.store.get(user.encode())
        return None if value is None else order_in(JOURNAL_ID)(head(value))

    def _assigned(self, number: int, changelog: str, schemas: Schemas, producer: Producer) -> Assigned:
        table = Table(
            MemoryStore(head=head),
            head=head,
            order=order_in(JOURNAL_ID),
            produce=lambda key, value: producer.produce(changelog, key=key, value=value, partition=number),
        )
        rows = TableRows(table, header=schemas.header("rows", row_pb2.UserRow), keys=self.keys)
        totals = Totals(epochs={})
        state = PartitionState(partition=number, versions={"": PRIOR}, rows=rows, totals=totals)
        return Assigned(state, table, rows, totals, journal_id=JOURNAL_ID, aside=Aside())


def told(under: Topics, story: Any, **instead: str) -> None:
    async def tell() -> None:
        schemas = Schemas(under.cluster)
        await schemas.register()
        producer = Producer(under.cluster, delivery_timeout_ms=3_000)
        fold = Fold(under, schemas, producer, **instead)
        running = asyncio.create_task(fold.settling.run())
        try:
            await story(fold)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError, DeliveryFailed):
                await running
            await producer.close()
            schemas.close()

    asyncio.run(tell())


def test_a_round_settles_all_partitions_outputs_rows_and_disks(under: Topics) -> None:
    async def story(fold: Fold) -> None:
        await asyncio.gather(fold.apply(record(1)), fold.apply(record(1, user="bob"), partition=1))
        assert (fold.offset("ada"), fold.offset("bob", partition=1)) == (1, 1)
        assert [one.folded for one in fold.assigned] == [1, 1]

    told(under, story)
    assert [len(under.read("rows", partition=number)) for number in range(2)] == [1, 1]
    assert sum(under.end("decisions", partition=number) for number in range(8)) == 2


def test_the_fold_goes_on_while_a_round_settles_and_each_row_is_written_once_for_a_round(under: Topics) -> None:
    async def story(fold: Fold) -> None:
        first = fold.apply(record(1))
        while first is fold.settling.folded(fold.assigned[0], 0):
            await asyncio.sleep(0)  # the round has not been cut yet
        later = [fold.apply(record(offset)) for offset in range(2, 20)]
        assert fold.offset("ada") in (None, 1)
        await asyncio.gather(first, *later)
        assert fold.offset("ada") == 19

    told(under, story)
    assert [order_in(JOURNAL_ID)(head(one.value or b"")) for one in under.read("rows")] == [1, 19]


def test_no_row_is_written_where_an_output_was_not_taken(under: Topics) -> None:
    async def story(fold: Fold) -> None:
        with pytest.raises(DeliveryFailed):
            await fold.apply(record(1))
        assert fold.offset("ada") is None

    told(under, story, decisions=f"{under.prefix}missing")
    assert under.read("rows") == []

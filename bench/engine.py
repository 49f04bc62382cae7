"""The context fold on oO's engine, in a table with a changelog: `engine.py JSON` (see throughput.py)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from bench.peers.fold import Clock, fold
from oo.v1 import row_pb2
from streams.app import create_app, run, serve
from streams.cluster import Cluster
from streams.partitions import Partitions
from streams.producer import Producer
from streams.reader import Follower
from streams.record import Batch
from tables.rocks import Rocks
from tables.store import MemoryStore
from tables.table import Pairs, Table


def head(value: bytes) -> bytes:
    """A row begins with its fence."""
    return value[:9]


async def main(orders: dict[str, Any]) -> None:
    clock = Clock()
    bootstrap, changelog = orders["bootstrap"], orders["changelog"]
    producer = Producer(Cluster(bootstrap), linger_ms=orders["linger_ms"])
    app = create_app(
        orders["group"],
        cluster=Cluster(bootstrap),
        data_dir=Path(orders["folder"]),
        worker_id="engine",
        producer=producer,
        poll_records_max=orders["poll_records_max"],
    )
    disks = Rocks(Path(orders["folder"]) / "rows", identity=b"bench", head=head)
    follower = Follower(Cluster(bootstrap), changelog)
    tables: dict[int, Table] = {}
    seen = 0

    async def load(numbers: set[int]) -> None:
        for number in numbers:
            store = MemoryStore(head=head) if orders["store"] == "memory" else disks.open(number)
            tables[number] = table = Table(
                store,
                head=head,
                order=lambda front: int.from_bytes(front[1:9], "little"),
                produce=lambda key, value, number=number: producer.produce(
                    changelog, key=key, value=value, partition=number
                ),
            )
            await table.recover(low=0, end=0, read=lambda _: nothing())
            follower.add(number, start=0)

    flushes: dict[int, asyncio.Task[None]] = {}

    async def handle(batches: Sequence[Batch]) -> asyncio.Future[None]:
        clock.begin()
        changed: dict[int, dict[bytes, row_pb2.UserRow]] = {batch.partition: {} for batch in batches}
        for number in changed.keys() & flushes.keys():
            await flushes[number]
        for batch in batches:
            table, rows = tables[batch.partition], changed[batch.partition]
            for record in batch.records:
                assert record.key is not None and record.value is not None
                row = rows.get(record.key)
                if row is None:
                    row = rows[record.key] = row_pb2.UserRow.FromString(table.get(record.key) or b"")
                fold(row, record.value, offset=record.offset)
        await producer.room()
        for number, rows in changed.items():
            for key, row in rows.items():
                tables[number].put(key, row.SerializeToString())
            flushes[number] = asyncio.create_task(tables[number].flush())
        return asyncio.ensure_future(settle(list(changed), sum(len(batch.records) for batch in batches)))

    async def settle(numbers: Sequence[int], count: int) -> None:
        """The next round, of other partitions, is folded meanwhile."""
        nonlocal seen
        await asyncio.gather(*(flushes[number] for number in numbers))
        seen += count
        if seen >= orders["events"]:
            ending.set()

    async def follow() -> None:
        # As the product's owner of a partition does: what a zombie writes behind its rows is put right.
        async for records in follower:
            for record in records:
                tables[record.partition].check(record)

    ending = asyncio.Event()
    partitions = Partitions(app, orders["source"], handle, on_assigned=load)

    @app.agent(app.topic(orders["source"]))
    async def agent(stream: Any) -> None:
        await partitions.run(stream)

    async def end() -> None:
        await ending.wait()
        await asyncio.sleep(0)
        await app.consumer.commit()
        clock.done()
        os.kill(os.getpid(), signal.SIGTERM)

    tasks = [asyncio.create_task(end()), asyncio.create_task(follow())]
    await serve(app)
    await tasks[0]
    tasks[1].cancel()
    for table in tables.values():
        table.close()
    await producer.close()


async def nothing() -> AsyncIterator[Pairs]:
    """An empty changelog."""
    for pairs in ():
        yield pairs


if __name__ == "__main__":
    run(main(json.loads(sys.argv[1])))

"""The context fold on oO's engine, with a changelog: `engine.py JSON` (see throughput.py)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from oo.v1 import row_pb2
from streams.app import create_app, run, serve
from streams.partitions import Partitions
from streams.producer import Producer
from streams.record import Batch
from tests.bench.peers.fold import Clock, fold


async def main(orders: dict[str, Any]) -> None:
    clock = Clock()
    producer = Producer(orders["bootstrap"])
    app = create_app(
        orders["group"],
        bootstrap=orders["bootstrap"],
        data_dir=Path(orders["folder"]),
        worker_id="engine",
        producer=producer,
    )
    rows: dict[int, dict[bytes, bytes]] = {}
    seen = 0

    async def load(numbers: set[int]) -> None:
        rows.update({number: {} for number in numbers})

    async def handle(batch: Batch) -> None:
        nonlocal seen
        clock.begin()
        mine = rows[batch.partition]
        changed: dict[bytes, row_pb2.UserRow] = {}
        for record in batch.records:
            assert record.key is not None and record.value is not None
            row = changed.get(record.key)
            if row is None:
                row = changed[record.key] = row_pb2.UserRow.FromString(mine.get(record.key, b""))
            fold(row, record.value, offset=record.offset)
        await producer.room()
        sent = []
        for key, row in changed.items():
            mine[key] = value = row.SerializeToString()
            sent.append(producer.produce(orders["changelog"], key=key, value=value, partition=batch.partition))
        await asyncio.gather(*sent)
        seen += len(batch.records)
        if seen >= orders["events"]:
            ending.set()

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

    task = asyncio.create_task(end())
    await serve(app)
    await task
    await producer.close()


if __name__ == "__main__":
    run(main(json.loads(sys.argv[1])))

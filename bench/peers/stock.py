"""The context fold on stock Faust, in a RocksDB table with a changelog: `stock.py JSON` (see ../throughput.py)."""

from __future__ import annotations

import asyncio
import json
import sys

import faust
import uvloop
from fold import Clock, fold

from oo.v1 import row_pb2


async def main(orders: dict) -> None:
    clock = Clock()
    app = faust.App(
        orders["group"],
        broker=f"kafka://{orders['bootstrap']}",
        store="rocksdb://?driver=rocksdict",
        datadir=orders["folder"],
        consumer_auto_offset_reset="earliest",
        topic_partitions=orders["partitions"],
        topic_disable_leader=True,
        broker_commit_interval=orders["commit_interval_s"],
        producer_linger=orders["linger_s"],
        web_enabled=False,
        value_serializer="raw",
        key_serializer="raw",
    )
    source = app.topic(orders["source"], key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    rows = app.Table("rows", partitions=orders["partitions"], key_type=bytes, value_type=bytes)
    rows.key_serializer = rows.value_serializer = "raw"
    seen = 0
    ended = asyncio.Event()

    @app.agent(source)
    async def agent(stream) -> None:
        nonlocal seen
        async for event in stream.events():
            clock.begin()
            row = row_pb2.UserRow()
            before = rows.get(event.key)
            if before is not None:
                row.ParseFromString(before)
            fold(row, event.value, offset=event.message.offset)
            rows[event.key] = row.SerializeToString()
            seen += 1
            if seen >= orders["events"]:
                ended.set()

    starting = asyncio.create_task(app.start())
    await ended.wait()
    await asyncio.sleep(0)
    await app.producer.flush()
    await app.consumer.commit()
    clock.done()
    starting.cancel()
    await app.stop()


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))

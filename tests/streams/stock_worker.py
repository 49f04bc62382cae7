"""The worker of worker.py on stock Faust, to show the faults that our driver mends.

Prints the same lines. What it does with a record is told by `how`; everything else is Faust as it comes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust


@dataclass(frozen=True, slots=True)
class StockOrders:
    """What a test tells it; `gates` is a folder in which a file named after a value holds that value's handler."""

    bootstrap: str
    group: str
    worker_id: str
    source: str
    sink: str
    folder: str
    gates: str
    how: str = "send"
    """send: copy to the sink; soon: through Faust's buffer, as a table writes; count: in a table, per value; in-place: the same, in a row that is changed in place."""
    boom: str = ""
    concurrency: int = 1
    typed: bool = False
    """Let Faust decode the values as JSON."""
    commit_interval_s: float = 0.1
    session_timeout_s: float = 4.0


def say(what: str, **fields: Any) -> None:
    print(json.dumps({"what": what, **fields}), flush=True)


def make_app(orders: StockOrders) -> faust.App:
    return faust.App(
        orders.group,
        broker=f"kafka://{orders.bootstrap}",
        broker_client_id=orders.worker_id,
        broker_commit_interval=orders.commit_interval_s,
        broker_session_timeout=orders.session_timeout_s,
        broker_heartbeat_interval=orders.session_timeout_s / 5,
        consumer_auto_offset_reset="earliest",
        topic_partitions=2,
        topic_disable_leader=True,
        store="memory://",
        datadir=str(Path(orders.folder) / orders.worker_id),
        web_enabled=False,
    )


async def main(orders: StockOrders) -> None:
    app = make_app(orders)
    raw: Any = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    source = app.topic(orders.source, **({"value_serializer": "json"} if orders.typed else raw))
    sink = app.topic(orders.sink, **raw)
    table: Any = app.Table("rows", partitions=2, default=dict if orders.how == "in-place" else int)

    @app.agent(source, concurrency=orders.concurrency)
    async def copy(stream: Any) -> None:
        async for event in stream.events():
            partition, offset = event.message.partition, event.message.offset
            value = event.value["value"] if orders.typed else event.value.decode()
            say("handling", partition=partition, offset=offset, value=value)
            while (Path(orders.gates) / value).exists():
                await asyncio.sleep(0.01)
            if orders.boom and value == orders.boom:
                raise ValueError(f"boom at {offset}")
            if orders.how == "send":
                await sink.send(key=event.key, value=value.encode(), partition=partition)
            elif orders.how == "soon":
                sink.send_soon(key=event.key, value=value.encode(), partition=partition)
            elif orders.how == "count":
                table[value] += 1
                say("counted", value=value, count=table[value])
            else:
                table[value].setdefault("count", 0)
                table[value]["count"] += 1
            say("handled", partition=partition, offset=offset, value=value)

    @app.on_partitions_assigned.connect
    async def assigned(_: Any, assigned: Any, **__: Any) -> None:
        say("assigned", partitions=sorted(tp.partition for tp in assigned if tp.topic == orders.source))

    @app.on_partitions_revoked.connect
    async def revoked(_: Any, revoked: Any, **__: Any) -> None:
        say("revoked", partitions=sorted(tp.partition for tp in revoked if tp.topic == orders.source))

    await app.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(main(StockOrders(**json.loads(sys.argv[1]))))

"""A small worker for the driver's tests: copies a topic to another, and misbehaves as it is told.

Prints one line per thing that happens, so that a test waits for what it means and not for a time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streams import fetching
from streams.access import check
from streams.app import create_app, run, serve
from streams.cluster import Cluster
from streams.partitions import Partitions
from streams.producer import Producer
from streams.record import Batch
from streams.security import Security


@dataclass(frozen=True, slots=True)
class Orders:
    """What a test tells its worker; `gates` is a folder in which a file `<partition>` keeps rounds with that partition from
    settling, a file `before-<partition>` has its next batch wait before any round takes it, `loading` all partitions."""

    bootstrap: str
    group: str
    worker_id: str
    source: str
    sink: str
    folder: str
    gates: str
    boom: str = ""
    """A value at which the handler raises."""
    block: str = ""
    """A value at which the handler blocks its event loop for good."""
    deafen: str = ""
    """A value at which the Kafka client's own task that fetches ends, as a mistake in it would end it."""
    gives_way_s: float | None = None
    """How long the Kafka client's thread waits for a round, at most; as ever where it is not said."""
    session_timeout_s: float = 10.0
    stalled_after_s: float = 60.0
    commit_interval_s: float = 0.1
    delivery_timeout_ms: int = 8_000
    topic_id: str = ""
    """The source's, in hex; without it the worker reads whatever has the name."""
    security: dict[str, str] = field(default_factory=dict)


def say(what: str, **fields: Any) -> None:
    print(json.dumps({"what": what, **fields}), flush=True)


async def main(orders: Orders) -> None:
    cluster = Cluster(orders.bootstrap, security=Security(**orders.security))  # type: ignore[arg-type]
    await check(cluster)
    producer = Producer(cluster, delivery_timeout_ms=orders.delivery_timeout_ms)
    app = create_app(
        orders.group,
        cluster=cluster,
        data_dir=Path(orders.folder) / orders.worker_id,
        worker_id=orders.worker_id,
        producer=producer,
        session_timeout_s=orders.session_timeout_s,
        commit_interval_s=orders.commit_interval_s,
        topic_ids={orders.source: bytes.fromhex(orders.topic_id)} if orders.topic_id else None,
    )

    if orders.gives_way_s is not None:
        fetching._GIVES_WAY_S = orders.gives_way_s

    turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open_gate(name: str) -> None:
        while (Path(orders.gates) / name).exists():
            await asyncio.sleep(0.01)

    def before(batch: Batch) -> Awaitable[None] | None:
        if not (Path(orders.gates) / f"before-{batch.partition}").exists():
            return None
        say("waiting", partition=batch.partition, first=batch.first, last=batch.last)
        return open_gate(f"before-{batch.partition}")

    async def handle(batches: Sequence[Batch]) -> asyncio.Future[None]:
        say("round", partitions=sorted({batch.partition for batch in batches}))
        for batch in batches:
            say("handling", partition=batch.partition, first=batch.first, last=batch.last, count=len(batch.records))
        return asyncio.ensure_future(settle(batches))

    async def settle(batches: Sequence[Batch]) -> None:
        await asyncio.gather(*map(copy_batch, batches))

    async def copy_batch(batch: Batch) -> None:
        async with turns[batch.partition]:
            await open_gate(str(batch.partition))
            await producer.room()
            for record in batch.records:
                if orders.boom and record.value == orders.boom.encode():
                    raise ValueError(f"boom at {record.offset}")
                if orders.block and record.value == orders.block.encode():
                    time.sleep(3600)
                if orders.deafen and record.value == orders.deafen.encode():
                    thread = app.consumer._thread
                    thread.thread_loop.call_soon_threadsafe(thread._consumer._fetcher._fetch_task.cancel)
                producer.produce(orders.sink, key=record.key, value=record.value, partition=record.partition)
            say("handled", partition=batch.partition, first=batch.first, last=batch.last)

    async def on_assigned(numbers: set[int]) -> None:
        if (Path(orders.gates) / "loading").exists():
            say("loading")
            await open_gate("loading")
        say("assigned", partitions=sorted(numbers))

    async def on_revoked(numbers: set[int]) -> None:
        say("revoked", partitions=sorted(numbers))

    partitions = Partitions(
        app,
        orders.source,
        handle,
        before=before,
        on_assigned=on_assigned,
        on_revoked=on_revoked,
        stalled_after_s=orders.stalled_after_s,
    )

    @app.agent(app.topic(orders.source))
    async def copy(stream: Any) -> None:
        await partitions.run(stream)

    await serve(app)
    await producer.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    run(main(Orders(**json.loads(sys.argv[1]))))

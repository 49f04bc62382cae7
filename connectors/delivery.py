"""Signals of a source on their way to the public topic: framed, with CloudEvents headers, each one acknowledged.

It never retries past the producer's own delivery timeout: what was not acknowledged is the caller's to send again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import quote

from connectors.watch import NotDelivered
from oo.v1.signal_pb2 import Signal
from streams.cluster import Cluster
from streams.frames import Frames
from streams.producer import DeliveryFailed, Producer

BATCH = 500
"""Signals on their way at once."""


async def deliver(
    signals: Sequence[Signal],
    *,
    producer: Producer,
    schemas: Frames,
    cluster: Cluster,
    event_source: str,
    on_acknowledged: Callable[[int], None] | None = None,
) -> None:
    """Sends signals in order; returns once Kafka has acknowledged all. `event_source` is the file's stable name.

    Raises NotDelivered at the first batch that was not taken whole; earlier batches then stand in the log.
    """
    topic = cluster.name("signals")
    for begin in range(0, len(signals), BATCH):
        await producer.room()
        waiting = []
        for signal in signals[begin : begin + BATCH]:
            future = producer.produce(
                topic,
                key=signal.user_id.encode(),
                value=schemas.frame("signals", signal),
                headers=headers(signal, event_source=event_source),
            )
            if on_acknowledged is not None:
                future.add_done_callback(lambda done: None if done.exception() else on_acknowledged(1))
            waiting.append(future)
        try:
            await asyncio.gather(*waiting)
        except DeliveryFailed as error:
            raise NotDelivered(f"Kafka did not take the signals ({error})") from error


def headers(signal: Signal, *, event_source: str) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 attributes in Kafka's binary mode, but for the content type: the value has its own framing.

    >>> signal = Signal(event_id='todo.txt#42@d1')
    >>> signal.task_completed.external_id = 'todo.txt#42'
    >>> dict(headers(signal, event_source='my todo.txt'))['ce_source']
    b'my%20todo.txt'
    """
    payload = signal.WhichOneof("payload") or ""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", signal.event_id.encode()),
        ("ce_source", quote(event_source).encode()),
        ("ce_type", f"oo.v1.{payload}".encode()),
        ("ce_time", signal.event_time.ToJsonString().encode()),
    ]

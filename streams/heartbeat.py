"""Keeps compaction going where nobody writes: Kafka never cleans the segment that is written to, nor begins a new one unasked.

Measured on Kafka 4.3: a quiet partition keeps what was overwritten or deleted, whatever its settings say, until somebody
appends. So a partition whose newest record is old gets one without a value. It never writes where people write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from streams.clock import clock_ms
from streams.cluster import Cluster
from streams.producer import Producer
from streams.reader import newest_ms
from streams.topics import SEGMENT_MS

KEY = b"\0heartbeat"
"""No person's: their ids hold no control characters. The record has no value, so compaction takes it too."""
LOOKED_EVERY_S = 3600.0


async def beat(cluster: Cluster, producer: Producer, partitions: Iterable[int], *, quiet_ms: int = SEGMENT_MS) -> int:
    """Append to each compacted topic's partitions of these numbers that are not empty and have been quiet for so long.

    Returns how many records that were, once Kafka has them. Raises KafkaException, DeliveryFailed.
    """
    numbers, now_ms = frozenset(partitions), clock_ms()
    compacted = [topic.name for topic in cluster.topics.values() if topic.cleanup == "compact"]
    newest = await asyncio.gather(*(newest_ms(cluster, name) for name in compacted))
    quiet = [
        (name, number)
        for name, found in zip(compacted, newest, strict=True)
        for number, at_ms in found.items()
        if number in numbers and 0 <= at_ms <= now_ms - quiet_ms
    ]
    await asyncio.gather(*(producer.produce(name, key=KEY, value=None, partition=number) for name, number in quiet))
    return len(quiet)

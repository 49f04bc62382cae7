"""Sends what an agent could not take to the dead letters, and waits until Kafka has it.

It never decides what is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from streams.clock import clock_ms
from streams.dead_letters import bare_letter, dead_letter
from streams.frames import Frames
from streams.metrics import REFUSED
from streams.producer import Producer
from streams.record import Record

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that an agent did not take: `reason` is a short fixed word, `detail` a sentence."""

    record: Record
    reason: str
    detail: str
    is_kept: bool = True
    """Whether the letter holds the record: not that of somebody who left."""


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The topic of dead letters; `topic_ids` by full name of the topics that records come from."""

    producer: Producer
    schemas: Frames
    topic: str
    topic_ids: Mapping[str, bytes]
    now_ms: Callable[[], int] = clock_ms

    async def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Return once every letter is acknowledged; raises DeliveryFailed, and then nothing may be committed."""
        futures = []
        for refusal in refusals:
            record = refusal.record
            letter = (dead_letter if refusal.is_kept else bare_letter)(
                record,
                topic_id=self.topic_ids[record.topic],
                reason=refusal.reason,
                detail=refusal.detail,
                refused_ms=self.now_ms(),
            )
            logger.warning(
                "record.refused topic=%s partition=%d offset=%d reason=%s",
                record.topic,
                record.partition,
                record.offset,
                refusal.reason,
            )
            REFUSED.labels(record.topic, refusal.reason).inc()
            await self.producer.room()
            key = f"{record.topic}/{record.partition}/{record.offset}".encode()
            value = self.schemas.frame("dead-letters", letter)
            futures.append(self.producer.produce(self.topic, key=key, value=value))
        await asyncio.gather(*futures)

"""Sends what an agent could not take to the dead letters, and waits until Kafka has it.

What a letter holds of its record is sealed, with the key of whom it names, or with the door's of that day. It never decides what is
refused, and writes no byte of a record in the open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from streams.clock import clock_ms
from streams.day_keys import NOBODYS, of_day
from streams.dead_letters import bare_letter, dead_letter
from streams.frames import Frames
from streams.key_maker import KeyMaker
from streams.keys import Keys
from streams.metrics import REFUSED
from streams.producer import Producer
from streams.record import Record
from streams.sealing import Sealing
from streams.topics import Topic
from streams.units import DAY_MS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that an agent did not take: `reason` is a short fixed word, `detail` a sentence."""

    record: Record
    reason: str
    detail: str
    is_kept: bool = True
    """Whether the letter holds the record: not that of somebody who left."""
    whose: bytes = b""
    """The Kafka key, behind the door, of the person whom the record names, as far as that can be told."""


@dataclass(frozen=True, slots=True)
class LetterKeys:
    """The keys that letters are sealed with."""

    keys: Keys
    maker: KeyMaker

    async def of(self, whose: bytes, *, now_ms: int) -> bytes:
        """Whose key seals: that person's where they have one, else the door's of that day, which then stands in Kafka."""
        if whose and not whose.startswith(NOBODYS) and not self.keys.lacks(whose):
            return whose
        day = of_day("letters", now_ms)
        await self.maker.ensure([day])
        return day

    async def end_old(self, topic: Topic, *, now_ms: int) -> None:
        """End the door's keys of days whose letters are gone from their topic."""
        kept_ms = DAY_MS + topic.retention_ms + topic.gone_ms
        await self.maker.forget_days("letters", before_ms=now_ms - kept_ms)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The topic of dead letters; `topic_ids` by full name of the topics that records come from."""

    producer: Producer
    schemas: Frames
    topic: str
    topic_ids: Mapping[str, bytes]
    now_ms: Callable[[], int] = clock_ms
    sealed_by: LetterKeys | None = None
    """None where nobody may make keys: a letter then holds nothing of the record, which stands where it stood."""

    async def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Return once every letter is acknowledged; raises DeliveryFailed, and then nothing may be committed."""
        futures = []
        for refusal in refusals:
            record = refusal.record
            is_kept = refusal.is_kept and self.sealed_by is not None
            letter = (dead_letter if is_kept else bare_letter)(
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
            REFUSED[record.topic, refusal.reason] += 1
            await self.producer.room()
            key = f"{record.topic}/{record.partition}/{record.offset}".encode()
            if is_kept and self.sealed_by is not None:
                letter.whose = await self.sealed_by.of(refusal.whose, now_ms=letter.refused_ms)
                value = Sealing(self.schemas, self.sealed_by.keys).frame("dead-letters", letter, whose=letter.whose)
            else:
                value = self.schemas.frame("dead-letters", letter)
            futures.append(self.producer.produce(self.topic, key=key, value=value))
        await asyncio.gather(*futures)

"""Admit: the door. Reads the public topics, writes the journal, and refuses to the dead letters.

Nothing is dropped in silence: a round is acknowledged once each of its records is acknowledged by Kafka in one of the
two topics. What goes to the journal has the person's pseudonym for a key and is sealed with the person's own; somebody new gets one
first. Behind the door nobody is called by another name. It never keeps state, so it may run anywhere and be killed at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import faust
from faust.types import StreamT

from agents import fault, set_aside
from agents.admission import Door, Refused, comes_back
from agents.in_hand import InHand
from agents.refuse import DeadLetters, Refusal
from connectors.spans import Work
from connectors.traces import Traces
from oo.v1 import journal_pb2, reaction_pb2, signal_pb2, subject_request_pb2
from oo.v1.erased_pb2 import Erased
from streams import cloudevents
from streams.clock import clock_ms
from streams.dead_letters import user_named
from streams.key_maker import KeyMaker
from streams.keys import Keys
from streams.partitions import Handler, Partitions
from streams.producer import Producer
from streams.record import Batch, Record
from streams.schemas import Schemas
from streams.sealing import Sealing, stays_open
from streams.topics import MIB, Topic
from streams.wire import BadFrame
from tables.leavers import Leaving
from tables.pseudonyms import Pseudonyms

YIELD_S = 0.010
"""The longest that a round holds the event loop before others get a turn."""

LEFT = "the person has left: nothing of them is taken before they begin again, and nothing of this record is kept"


@dataclass(frozen=True, slots=True)
class Admit:
    """One public topic's way into the journal."""

    short_name: str
    topic_id: bytes
    journal: str
    door: Door
    schemas: Schemas
    producer: Producer
    dead_letters: DeadLetters
    in_hand: InHand
    leaving: Leaving
    sealing: Sealing
    keys: Keys
    maker: KeyMaker
    pseudonyms: Pseudonyms
    traces: Traces | None = None
    """None where nothing is traced."""
    returned: set[str] = field(default_factory=set)
    """Receipts of those who have begun again, and whose keys are known to have changed."""

    async def handle(self, batches: Sequence[Batch]) -> asyncio.Future[None]:
        """Send every record to the journal or to the dead letters; what it returns is done when they stand there."""
        loop = asyncio.get_running_loop()
        refusals: list[Refusal] = []
        newcomers: list[tuple[bytes, journal_pb2.JournalRecord]] = []
        new: set[bytes] = set()
        traced: list[Work] = []
        now_ms, turn_s = clock_ms(), loop.time()
        gone = _Gone(self)
        for record in chain.from_iterable(batch.records for batch in batches):
            if ends := self.in_hand.ends(self.topic_id, record):
                # Its bytes are not looked at again here.
                refusals.append(Refusal(record, "set-aside", set_aside.detail(ends), whose=self.by_key(record)))
                continue
            admitted = None
            work = None if self.traces is None else self.traces.begun("admit", record)
            if work is not None:
                traced.append(work)
            with self.in_hand.holding(self.topic_id, record):
                try:
                    admitted = await self._admit(record, gone, now_ms=now_ms)
                except _Left:
                    refusals.append(Refusal(record, "erased", LEFT, is_kept=False))
                except (BadFrame, Refused) as refused:
                    refusals.append(self._of_whom(Refusal(record, refused.reason, refused.detail)))
                except MemoryError:
                    raise  # the machine's, not the record's
                except Exception as error:  # noqa: BLE001 - a fault of ours on one record must not stop those behind it
                    refusals.append(self._of_whom(Refusal(record, "door-failed", fault.ours(fault.where(error)))))
            if admitted is not None:
                whose, journal = admitted
                if work is not None:
                    journal.traceparent = work.span.text
                # All of a person's go the same way: their order is the door's to keep.
                if whose in new or (self.maker.lacks(whose) and not stays_open(journal)):
                    new.add(whose)
                    newcomers.append(admitted)
                else:
                    await self._journal(*admitted)
            elif work is not None:
                work.fault = refusals[-1].reason
            if loop.time() - turn_s > YIELD_S:
                await asyncio.sleep(0)
                turn_s = loop.time()
        if newcomers:
            await self.maker.ensure(new)
            for admitted in newcomers:
                await self._journal(*admitted)
        await self.dead_letters.refuse([await gone.without_bytes(refusal) for refusal in refusals])
        acknowledged = self.producer.acknowledged()
        if traced:
            acknowledged.add_done_callback(lambda _: self._ended(traced))
        return acknowledged

    def _ended(self, traced: Sequence[Work]) -> None:
        assert self.traces is not None
        for work in traced:
            self.traces.ended(work)

    async def _journal(self, whose: bytes, journal: journal_pb2.JournalRecord) -> None:
        await self.producer.room()
        self.producer.produce(self.journal, key=whose, value=self.sealing.frame("journal", journal, whose=whose))

    async def _admit(self, record: Record, gone: _Gone, *, now_ms: int) -> tuple[bytes, journal_pb2.JournalRecord]:
        record = cloudevents.binary(record, bytes_max=MIB)
        message = await self.schemas.unframe_public(
            self.short_name, record.value, headers=record.headers, asking=self.in_hand.lay_down
        )
        assert isinstance(message, signal_pb2.Signal | reaction_pb2.Reaction | subject_request_pb2.SubjectRequest)
        whose = self.pseudonyms.of(message.user_id)
        word = await gone.word_of(whose)
        if word is not None and not comes_back(message, word):
            raise _Left
        journal = self.door.admit(message, record, pseudonym=whose, topic_id=self.topic_id, now_ms=now_ms)
        return whose.encode(), journal

    def _of_whom(self, refusal: Refusal) -> Refusal:
        """The same, with whom the record names: as its bytes say, or where nothing can be read of them its key."""
        said = ""
        try:
            if len(value := cloudevents.binary(refusal.record, bytes_max=MIB).value or b"") <= MIB:
                said = user_named(value, self.schemas)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001, S110 - whatever it is, the letter is sealed as nobody's
            pass
        return replace(refusal, whose=self.pseudonyms.of(said).encode() if said else self.by_key(refusal.record))

    def by_key(self, record: Record) -> bytes:
        """Whose the record is behind the door, as far as its key tells."""
        return self.pseudonyms.of(record.key.decode(errors="replace")).encode() if record.key else b""


class _Left(Exception):
    """The record is of somebody who left."""


class _Gone:
    """Who has left, for one round: asked anew before the first of its records is refused for that.

    Whoever writes once their beginning again is said in `oo.erasures` is let in, however late this door hears of it.
    """

    def __init__(self, door: Admit) -> None:
        self._door = door
        self._is_asked = False

    async def word_of(self, whose: str) -> Erased | None:
        """The word of somebody who left and has not begun again."""
        door, leavers = self._door, self._door.leaving.leavers
        word = leavers.word_of(whose)
        if word is None or word.receipt in door.returned:
            return None
        if not self._is_asked:
            door.in_hand.lay_down()
            await door.leaving.catch_up()
            # What comes of a new life is never sealed with a key of the one before.
            await door.keys.catch_up()
            self._is_asked = True
        if leavers.are_gone(whose):
            return leavers.word_of(whose)
        if (known := leavers.word_of(whose)) is not None:
            door.returned.add(known.receipt)
        return None

    async def without_bytes(self, refusal: Refusal) -> Refusal:
        """The same, not to be kept where the record's key is such a person, or what can be read of it names one."""
        for whose in {self._door.by_key(refusal.record), refusal.whose} - {b""}:
            if await self.word_of(whose.decode()) is not None:
                return replace(refusal, is_kept=False)
        return refusal


def build(app: faust.App, *, admits: dict[str, Admit], topics: dict[str, Topic]) -> list[Partitions]:
    """Declare one agent per public topic, named admit-<topic>."""
    return [_declare(app, topics[name].name, admit.handle, name=f"admit-{name}") for name, admit in admits.items()]


def _declare(app: faust.App, topic: str, handle: Handler, *, name: str) -> Partitions:
    partitions = Partitions(app, topic, handle)

    @app.agent(app.topic(topic), name=name)
    async def admit(stream: StreamT[Any]) -> None:
        await partitions.run(stream)

    return partitions

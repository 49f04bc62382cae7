"""Sends dead letters again, each noted in oo.audit before it goes and once more where it then stands.

Killed anywhere and begun again it sends each once: what was noted and did not say where it stands is looked for first. It sends
nothing that oo.audit could not be told of, and changes no letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import protovalidate

from agents.admission import Door, Refused
from connectors.leaving import leavers_of
from deploy.audit import entry_of
from deploy.keys import read_keys
from deploy.letters import Again, CannotRedrive, Letter, again, whom
from deploy.redriven import Fate, Redrive
from deploy.stack.running import RunningStack
from deploy.writing import writing
from oo.v1 import audit_pb2, journal_pb2
from streams import cloudevents
from streams.clock import clock_ms
from streams.dead_letters import REDRIVEN
from streams.partitioner import partition_of
from streams.producer import Producer
from streams.reader import end_offsets, read_partition, topic_ids
from streams.record import Record
from streams.schemas import Schemas
from streams.topics import MIB
from streams.wire import BadFrame
from tables.message_rules import FromOutside
from tables.pseudonyms import Pseudonyms

COMMAND = "oo dead-letters redrive"
AT_ONCE = 50
"""Letters that are noted, sent and noted again together."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A letter that can be sent again, and how."""

    letter: Letter
    again: Again
    partition: int
    is_edited: bool
    would_be: str = ""
    """Why the door would refuse it, where that was asked; empty where it would take it."""


@dataclass(slots=True)
class Report:
    """What came of it."""

    sent: list[Letter] = field(default_factory=list)
    found: list[Letter] = field(default_factory=list)
    """Sent by an earlier run that had not said so."""
    not_sent: list[tuple[Letter, str]] = field(default_factory=list)


class Redriving:
    """One run. It reads with the rights of `stack`; `by` is who sends, as `producer` does, and stands in the audit."""

    def __init__(self, stack: RunningStack, by: RunningStack, producer: Producer, schemas: Schemas) -> None:
        self._stack = stack
        self._by = by
        self._cluster = stack.cluster
        self._producer = producer
        self._schemas = schemas
        self._pseudonyms = Pseudonyms.in_file(stack.name_key_file)
        self._shorts = {topic.name: short for short, topic in stack.cluster.topics.items()}

    async def prepare(
        self, chosen: Sequence[Letter], *, edits: Mapping[str, bytes], is_asked: bool
    ) -> tuple[list[Ready], Report]:
        """How each goes again, and which ones cannot. `edits`: messages as JSON, by letter id; these must pass the door's own rules.

        `is_asked`: say of the others too what the door would say.
        """
        keys = await read_keys(self._cluster, self._stack.kek_dir)
        leavers, report = await leavers_of(self._cluster), Report()
        door = Door(protovalidate.Validator(), self._mac_key()) if edits or is_asked else None
        ready = []
        for letter in chosen:
            edited = edits.get(letter.id)
            try:
                one = again(
                    letter,
                    cluster=self._cluster,
                    keys=keys,
                    leavers=leavers,
                    pseudonyms=self._pseudonyms,
                    edited=edited,
                )
            except CannotRedrive as error:
                report.not_sent.append((letter, str(error)))
                continue
            would_be = "" if door is None or not (is_asked or edited) else await self._refusal(one, door)
            if edited is not None and would_be:
                report.not_sent.append((letter, f"the door would refuse what was edited: {would_be}"))
                continue
            # What came together of one partition stays in order.
            partition = letter.message.partition % self._cluster.topics[self._shorts[one.topic]].partitions
            ready.append(Ready(letter, one, partition, edited is not None, would_be))
        return ready, report

    def _mac_key(self) -> bytes:
        file = self._stack.mac_key_file
        return file.read_bytes() if file.is_file() else b""

    async def _refusal(self, one: Again, door: Door) -> str:
        """What the door would say now; empty where it would take it. It is not asked whether its person has left."""
        record = Record(one.topic, 0, 0, clock_ms(), one.key, one.value, one.headers)
        try:
            record = cloudevents.binary(record, bytes_max=MIB)
            message = await self._schemas.unframe_public(self._shorts[one.topic], record.value, headers=record.headers)
            assert isinstance(message, FromOutside), "a letter goes back to where producers write"
            whose = self._pseudonyms.of(message.user_id)
            door.admit(message, record, pseudonym=whose, topic_id=b"", now_ms=record.timestamp_ms)
        except (BadFrame, Refused) as refused:
            return f"{refused.reason}: {refused.detail}"
        return ""

    async def send(
        self,
        ready: Sequence[Ready],
        fates: Mapping[str, Fate],
        report: Report,
        *,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Report:
        """Send all of them; raises DeliveryFailed, and then a new run goes on where this one ended."""
        ready = [one for one in ready if not self._is_untold(one, fates.get(one.letter.name), report)]
        topics = sorted({one.again.topic for one in ready})
        ids = await topic_ids(self._cluster, topics) if topics else {}
        ends = {topic: await end_offsets(self._cluster, topic) for topic in topics}
        found = await self._found(ready, fates, ids)
        for begin in range(0, len(ready), AT_ONCE):
            some = ready[begin : begin + AT_ONCE]
            words = []
            for one in some:
                place = journal_pb2.Position(topic_id=ids[one.again.topic], partition=one.partition)
                place.offset = ends[one.again.topic][one.partition]
                words.append(self._word(one, place))
            new = [(one, word) for one, word in zip(some, words, strict=True) if one.letter.name not in found]
            await self._note(new)
            places = [
                self._producer.produce(
                    one.again.topic,
                    key=one.again.key,
                    value=one.again.value,
                    headers=one.again.headers,
                    partition=one.partition,
                )
                for one, _ in new
            ]
            offsets = {
                one.letter.name: sent.offset for (one, _), sent in zip(new, await asyncio.gather(*places), strict=True)
            }
            for one, word in zip(some, words, strict=True):
                word.place.offset, word.is_sent = (offsets | found)[one.letter.name], True
            await self._note(list(zip(some, words, strict=True)))
            report.sent += [one.letter for one, _ in new]
            report.found += [one.letter for one in some if one.letter.name in found]
            progress(len(some))
        return report

    def _is_untold(self, one: Ready, fate: Fate | None, report: Report) -> bool:
        """Whether nobody can tell any more if it was sent: then it is not."""
        kept_ms = self._cluster.topics[self._shorts[one.again.topic]].retention_ms
        if (
            fate is None
            or fate.state != "sending"
            or fate.redrive is None
            or fate.redrive.noted_ms > clock_ms() - kept_ms
        ):
            return False
        why = "its redrive began and did not say that it ended, and what the topic had then is gone: --again sends it"
        report.not_sent.append((one.letter, why))
        return True

    def _word(self, one: Ready, place: journal_pb2.Position) -> audit_pb2.Redrive:
        message = one.letter.message
        letter = journal_pb2.Position(topic_id=message.topic_id, partition=message.partition, offset=message.offset)
        return audit_pb2.Redrive(letter=letter, topic=one.again.topic, place=place, is_edited=one.is_edited)

    async def _note(self, words: Sequence[tuple[Ready, audit_pb2.Redrive]]) -> None:
        topic = self._cluster.topics["audit"]
        for one, word in words:
            entry = entry_of(self._by, COMMAND, letter_id=one.letter.id)
            entry.redrive.CopyFrom(word)
            whose = next((name.encode() for name in whom(one.letter, self._pseudonyms)), None)
            self._producer.produce(
                topic.name,
                key=whose,
                value=self._schemas.frame("audit", entry),
                # Words on one letter stand in one partition, and so in order.
                partition=partition_of(whose or one.letter.name.encode(), topic.partitions),
            )
        await self._producer.flush()

    async def _found(
        self, ready: Sequence[Ready], fates: Mapping[str, Fate], ids: Mapping[str, bytes]
    ) -> dict[str, int]:
        """Of those whose redrive had begun and did not say that it ended: the offset, where it was sent nevertheless."""
        begun: dict[tuple[str, int], dict[bytes, Redrive]] = {}
        for one in ready:
            fate = fates.get(one.letter.name)
            if fate is not None and fate.state == "sending" and fate.redrive is not None:
                word = fate.redrive.word
                if word.place.topic_id == ids[one.again.topic] and word.place.partition == one.partition:
                    begun.setdefault((one.again.topic, one.partition), {})[one.letter.name.encode()] = fate.redrive
        found = dict[str, int]()
        for (topic, partition), wanted in begun.items():
            start = min(one.word.place.offset for one in wanted.values())
            # What is not committed is none of ours; ours would be seen also behind what a stranger has left open.
            async for records in read_partition(self._cluster, topic, partition, start=start, ours=True):
                for record in records:
                    name = dict(record.headers).get(REDRIVEN)
                    if name in wanted and record.offset >= wanted[name].word.place.offset:
                        found.setdefault(name.decode(), record.offset)
        return found


async def redrive_letters(
    stack: RunningStack,
    by: RunningStack,
    chosen: Sequence[Letter],
    fates: Mapping[str, Fate],
    *,
    edits: Mapping[str, bytes] = MappingProxyType({}),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Send these again, with a producer of `by` for it. `progress(done, total)` hears of each round but that of all at once. Raises as `Redriving.send`."""
    async with writing(by, client_id="oo-redrive") as (producer, schemas):
        redriving = Redriving(stack, by, producer, schemas)
        ready, report = await redriving.prepare(chosen, edits=edits, is_asked=False)
        done = 0

        def count(n: int) -> None:
            nonlocal done
            done += n
            if n < len(ready):
                progress(done, len(ready))

        return await redriving.send(ready, fates, report, progress=count)

"""Writes strange records to a running stack, and looks where each came out: in the journal, or among the letters.

It believes nothing but the topics: every record that Kafka acknowledged stands in exactly one of the two, in order, with
each good one in the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from confluent_kafka import Message, Producer

from deploy.stack.running import RunningStack
from oo.v1 import dead_letter_pb2, journal_pb2
from streams.frames import BadFrame, Schemas
from streams.reader import end_offsets, read_partition, topic_ids
from streams.topics import topics
from tests.fuzz.outsiders import Strange

Place = tuple[str, int, int]
"""Short topic, partition, offset."""


@dataclass(slots=True)
class Outcome:
    """Where the records came out."""

    sent: dict[Place, Strange] = field(default_factory=dict)
    journaled: Counter[Place] = field(default_factory=Counter)
    letters: dict[Place, list[str]] = field(default_factory=lambda: defaultdict(list))
    out_of_order: list[Place] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """Everything that is not as it has to be; empty when all is."""
        found = [f"out of order: {place}" for place in self.out_of_order]
        for place, record in self.sent.items():
            times = self.journaled[place] + len(self.letters.get(place, ()))
            if times != 1:
                found.append(f"{times} times: {record.kind} {place} {(record.value or b'')[:120]!r}")
            elif record.good and place in self.letters:
                found.append(f"good but refused as {self.letters[place]}: {place} {(record.value or b'')[:120]!r}")
            elif any(reason.endswith("-failed") for reason in self.letters.get(place, ())):
                found.append(f"failed inside: {record.kind} {place} {(record.value or b'')[:120]!r}")
        return found

    def table(self) -> list[tuple[str, int, int, str]]:
        """(kind, records, of them in the journal, reasons of the others), by kind."""
        kinds: dict[str, list[Place]] = defaultdict(list)
        for place, record in self.sent.items():
            kinds[record.kind].append(place)
        rows = []
        for name, places in sorted(kinds.items()):
            reasons = Counter(reason for place in places for reason in self.letters.get(place, ()))
            said = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
            rows.append((name, len(places), sum(self.journaled[place] for place in places), said))
        return rows


def write(stack: RunningStack, records: Iterable[Strange], outcome: Outcome) -> None:
    """Write the records, and note where Kafka put each."""
    producer = Producer({"bootstrap.servers": stack.bootstrap, "message.max.bytes": 4 * 1024 * 1024})
    table = topics(stack.prefix)

    def note(record: Strange) -> object:
        def delivered(error: object, message: Message) -> None:
            assert error is None, error
            partition, offset = message.partition(), message.offset()
            assert partition is not None and offset is not None
            outcome.sent[record.topic, partition, offset] = record

        return delivered

    for record in records:
        producer.produce(
            table[record.topic].name, record.value, record.key, headers=list(record.headers), on_delivery=note(record)
        )
        producer.poll(0)
    assert producer.flush(60) == 0


async def look(stack: RunningStack, outcome: Outcome, *, within_s: float = 120.0) -> None:
    """Read journal and letters until each record written has come out somewhere, or the time is up."""
    table = topics(stack.prefix)
    ids = await topic_ids(stack.bootstrap, [table[name].name for name in ("signals", "reactions")])
    names = {topic_id: name for name in ("signals", "reactions") for topic_id in [ids[table[name].name]]}
    until_s = time.monotonic() + within_s
    while True:
        outcome.journaled.clear()
        outcome.letters.clear()
        outcome.out_of_order.clear()
        await _read_journal(stack, outcome, names)
        await _read_letters(stack, outcome)
        seen = outcome.journaled.keys() | outcome.letters.keys()
        if outcome.sent.keys() <= seen or time.monotonic() > until_s:
            return
        await asyncio.sleep(0.5)


async def _read_journal(stack: RunningStack, outcome: Outcome, names: dict[bytes, str]) -> None:
    schemas, name = Schemas.offline(stack.prefix), topics(stack.prefix)["journal"].name
    for partition in await end_offsets(stack.bootstrap, name):
        last: dict[tuple[str, int, bytes | None], int] = {}
        async for records in read_partition(stack.bootstrap, name, partition):
            for record in records:
                try:
                    said = schemas.unframe("journal", record.value)
                except BadFrame:
                    continue
                assert isinstance(said, journal_pb2.JournalRecord)
                if said.source.topic_id not in names:
                    continue
                place = (names[said.source.topic_id], said.source.partition, said.source.offset)
                if place not in outcome.sent:
                    continue
                outcome.journaled[place] += 1
                line = (place[0], place[1], record.key)
                if last.get(line, -1) > place[2]:
                    outcome.out_of_order.append(place)
                last[line] = place[2]


async def _read_letters(stack: RunningStack, outcome: Outcome) -> None:
    schemas, table = Schemas.offline(stack.prefix), topics(stack.prefix)
    shorts = {topic.name: name for name, topic in table.items()}
    async for records in read_partition(stack.bootstrap, table["dead-letters"].name, 0):
        for record in records:
            try:
                letter = schemas.unframe("dead-letters", record.value)
            except BadFrame:
                continue
            assert isinstance(letter, dead_letter_pb2.DeadLetter)
            place = (shorts.get(letter.topic, letter.topic), letter.partition, letter.offset)
            if place in outcome.sent:
                outcome.letters[place].append(letter.reason)

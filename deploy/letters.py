"""The dead letters: reading them, and sending what they hold again.

It never changes or removes a letter: sending one again writes a new record to the topic it came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from agents import set_aside
from connectors.key_files import KeyFiles
from oo.v1 import dead_letter_pb2, journal_pb2
from streams.cluster import Cluster
from streams.day_keys import NOBODYS
from streams.dead_letters import REDRIVEN, dead_letter, user_named
from streams.frames import Frames
from streams.keys import Keys, home
from streams.producer import Delivered, Producer
from streams.reader import read_partition
from streams.record import Record
from streams.sealing import KEY_ID_BYTES, KeyMissing, NotOpened, Sealing, opened, stays_open
from streams.topics import ENTRANCES, NAMES
from streams.units import SECOND_MS
from streams.wire import BadFrame
from tables.leavers import Leavers
from tables.pseudonyms import Pseudonyms

HEARD_MS = 60 * SECOND_MS
"""A door has heard of a leaving by then, and clocks differ by less: what it refuses later is of no life before."""


class CannotRedrive(Exception):
    """The letter does not hold what it would take to send it again."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter where it stands."""

    offset: int
    message: dead_letter_pb2.DeadLetter
    """Opened; as it stands where that cannot be."""
    away: str = ""
    """Why it cannot be opened; empty where it can."""

    @property
    def person(self) -> bytes | None:
        """Whose it is behind the door; None where it names nobody that has a key."""
        whose = self.message.whose
        return None if whose.startswith(NOBODYS) or not whose else whose

    @property
    def id(self) -> str:
        """Where the refused record stood: TOPIC/PARTITION/OFFSET."""
        return f"{self.message.topic}/{self.message.partition}/{self.message.offset}"


async def letters(cluster: Cluster, kek_dir: Path, *, reason: str | None = None) -> list[Letter]:
    """Every letter that stands in the topic now, oldest first; `reason` keeps those of one reason."""
    found = await kept(cluster, reason=reason)
    keys = Keys.of(cluster, KeyFiles(kek_dir))
    # After the letters: a key stands there before anything is sealed with it.
    for number in sorted({home(one.message.whose) for one in found if one.message.sealed}):
        await keys.take_partition(number)
    return [_opened(one, keys) for one in found]


async def kept(cluster: Cluster, *, reason: str | None = None) -> list[Letter]:
    """The same, as they stand in the topic."""
    schemas, found = Frames(), []
    async for records in read_partition(cluster, cluster.name("dead-letters"), 0):
        for record in records:
            message = _message(schemas, record)
            if reason is None or message.reason == reason:
                found.append(Letter(record.offset, message))
    return found


def _opened(one: Letter, keys: Keys) -> Letter:
    whose = one.message.whose
    try:
        return Letter(one.offset, opened(one.message, whose=whose, keys=keys))
    except NotOpened:
        return replace(one, away="it cannot be opened: it was changed since it was sealed")
    except KeyMissing as missing:
        if any(held.id == one.message.sealed[:KEY_ID_BYTES] for held in keys.held(whose)):
            return replace(one, away=f"it cannot be opened: {missing}")
        gone = "the time of its day's key is over" if whose.startswith(NOBODYS) else "its person has left since"
        return replace(one, away=f"it cannot be opened: {gone}, and its key is gone")


def _message(schemas: Frames, record: Record) -> dead_letter_pb2.DeadLetter:
    """Read a letter. What is none is shown as the letter that it would have got itself."""
    try:
        message = schemas.unframe("dead-letters", record.value)
        assert isinstance(message, dead_letter_pb2.DeadLetter)
        return message
    except BadFrame as bad:
        return dead_letter(record, topic_id=b"", reason=bad.reason, detail=bad.detail, refused_ms=record.timestamp_ms)


def whom(letter: Letter, pseudonyms: Pseudonyms) -> list[str]:
    """Whom the letter names, as they are called behind the door, the surest first; what cannot be read is known by its Kafka key."""
    found = [] if letter.person is None else [letter.person.decode(errors="replace")]
    if said := user_named(letter.message.original, Frames()):
        return [*found, pseudonyms.of(said)]
    key = letter.message.original_key.decode(errors="replace")
    # A record behind the door has the pseudonym as its key.
    return [*found, pseudonyms.of(key), key] if key else found


def target(letter: Letter, *, cluster: Cluster, keys: Keys, leavers: Leavers, pseudonyms: Pseudonyms) -> str:
    """The topic that a letter goes back to; raises CannotRedrive.

    A letter that `recommend` wrote (a full backlog) names the public topic in a header of its own.
    """
    message = letter.message
    if letter.away:
        raise CannotRedrive(letter.away)
    if message.reason == "erased":
        raise CannotRedrive("its person has left, and nothing of it was kept")
    if any(_is_of_before(letter, leavers, name) for name in whom(letter, pseudonyms)):
        raise CannotRedrive("its person has left since, and nothing of before comes back with a new life")
    if message.original_length > len(message.original):
        raise CannotRedrive(
            f"it was cut: {len(message.original)} of {message.original_length} bytes were kept, so send the original again"
        )
    if (journaled := _journaled(message, cluster=cluster, keys=keys)) is not None:
        return cluster.name(journaled[0])
    named = next((header.value.decode() for header in message.original_headers if header.key == "oo_topic"), "")
    topic = cluster.name(named) if named in NAMES else message.topic
    if topic not in {t.name for t in cluster.topics.values() if t.public}:
        raise CannotRedrive(f"{topic} is not a public topic: 'oo dead-letters show' tells what happened")
    return topic


def _is_of_before(letter: Letter, leavers: Leavers, name: str) -> bool:
    """Whether the record is of a life of this person that ended."""
    word, message = leavers.word_of(name), letter.message
    if word is None or leavers.are_gone(name):
        return word is not None
    came_ms = min(message.original_time_ms or message.refused_ms, message.refused_ms)
    return came_ms <= word.erased_ms + HEARD_MS


def once(found: Iterable[Letter]) -> list[Letter]:
    """Keep one letter of each refused record: a door that was killed before its commit wrote another."""
    return list({(one.message.topic_id, one.message.partition, one.message.offset): one for one in found}.values())


async def redrive(
    letter: Letter, producer: Producer, *, cluster: Cluster, keys: Keys, leavers: Leavers, pseudonyms: Pseudonyms
) -> Delivered:
    """Send the original bytes, key and headers again; returns where they stand now. Raises CannotRedrive.

    The same letter sent twice counts once, within the bounds in which a producer's own duplicate does.
    """
    topic = target(letter, cluster=cluster, keys=keys, leavers=leavers, pseudonyms=pseudonyms)
    message = letter.message
    name = f"{message.topic_id.hex()}/{message.partition}/{message.offset}".encode()
    if (journaled := _journaled(message, cluster=cluster, keys=keys)) is not None:
        return await producer.produce(
            topic,
            # Its own key is a pseudonym.
            key=str(journaled[1].user_id).encode(),  # type: ignore[attr-defined]
            value=MessageToJson(journaled[1]).encode(),
            headers=[("content-type", b"application/json"), (REDRIVEN, name)],
        )
    headers = [(header.key, header.value) for header in message.original_headers if header.key != "oo_topic"]
    if len(headers) < len(message.original_headers):
        # Refused behind the door: the row may have noted the producer's own id as taken.
        headers += [("ce_source", b"oo.redrive"), ("ce_id", name)]
    return await producer.produce(
        topic,
        key=message.original_key or None,
        value=message.original,
        headers=[*headers, (REDRIVEN, name)],
    )


def _journaled(message: dead_letter_pb2.DeadLetter, *, cluster: Cluster, keys: Keys) -> tuple[str, Message] | None:
    """What a producer said in a journal record that was set aside, and its topic's short name; None for any other letter.

    The worker did not look at its bytes again: whoever asks for it here does, in a process of their own.
    """
    if message.reason != set_aside.REASON or message.topic != cluster.name("journal"):
        return None
    try:
        record = Sealing(Frames(), keys).unframe("journal", message.original, whose=message.original_key)
    except KeyMissing as missing:
        raise CannotRedrive(str(missing)) from missing
    except BadFrame as bad:
        raise CannotRedrive(f"it is no journal record ({bad.reason})") from bad
    assert isinstance(record, journal_pb2.JournalRecord)
    payload = record.WhichOneof("payload") or ""
    if stays_open(record):
        raise CannotRedrive(
            "with it somebody leaves or begins again, and it names them by their pseudonym alone: have that asked again"
        )
    if payload not in ENTRANCES:
        raise CannotRedrive(f"nobody's words stand in it: {payload or None}")
    return ENTRANCES[payload], getattr(record, payload)

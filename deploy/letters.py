"""The dead letters: reading them, and what goes back when one is sent again.

It never changes or removes a letter, and sends nothing: who does is deploy/redriving.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from agents import set_aside
from connectors.key_files import KeyFiles
from oo.v1 import dead_letter_pb2, journal_pb2
from streams import cloudevents
from streams.cluster import Cluster
from streams.day_keys import NOBODYS
from streams.dead_letters import REDRIVEN, SAID_AT, SAID_ON, dead_letter, named, user_named
from streams.frames import Frames
from streams.keys import Keys, home
from streams.producer import Delivered, Producer
from streams.reader import read_partition
from streams.record import Record
from streams.sealing import KEY_ID_BYTES, KeyMissing, NotOpened, Sealing, opened, stays_open
from streams.topics import ENTRANCES, MIB, NAMES
from streams.units import SECOND_MS
from streams.wire import BadFrame
from tables.leavers import Leavers
from tables.pseudonyms import Pseudonyms

HEARD_MS = 60 * SECOND_MS
"""A door has heard of a leaving by then, and clocks differ by less: what it refuses later is of no life before."""
JSON = ("content-type", b"application/json")


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
    said_at: str = ""
    """Where a producer said it, as `named` spells it: where the refused record stood, or the one from which it came."""

    @property
    def person(self) -> bytes | None:
        """Whose it is behind the door; None where it names nobody that has a key."""
        whose = self.message.whose
        return None if whose.startswith(NOBODYS) or not whose else whose

    @property
    def id(self) -> str:
        """Where the refused record stood: TOPIC/PARTITION/OFFSET."""
        return f"{self.message.topic}/{self.message.partition}/{self.message.offset}"

    @property
    def name(self) -> str:
        """The same with the topic's id: of one made anew the letters have other names."""
        return named(self.message.topic_id, partition=self.message.partition, offset=self.message.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters: those to which all of it applies."""

    reason: str | None = None
    topic: str | None = None
    """Its full name."""
    partition: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    whose: str | None = None
    """The person's pseudonym, which `pseudonyms` makes of the names that letters say."""
    pseudonyms: Pseudonyms = field(default_factory=lambda: Pseudonyms(b""))

    def keeps(self, letter: Letter) -> bool:
        """Whether this is one of them."""
        message = letter.message
        return (
            self.reason in (None, message.reason)
            and self.topic in (None, message.topic)
            and self.partition in (None, message.partition)
            and (self.since_ms is None or self.since_ms <= message.refused_ms)
            and (self.until_ms is None or message.refused_ms < self.until_ms)
            and (self.whose is None or self.whose in whom(letter, self.pseudonyms))
        )


async def letters(cluster: Cluster, kek_dir: Path, *, reason: str | None = None) -> list[Letter]:
    """Every letter that stands in the topic now, oldest first; `reason` keeps those of one reason."""
    found = await kept(cluster, reason=reason)
    keys = Keys.of(cluster, KeyFiles(kek_dir))
    # After the letters: a key stands there before anything is sealed with it.
    aside = any(one.message.reason == set_aside.REASON for one in found)
    homes = {home(one.message.whose) for one in found if one.message.sealed}
    for number in sorted(homes) if not aside else range(cluster.topics["keys"].partitions):
        await keys.take_partition(number)
    return [_said_at(_opened(one, keys), cluster, keys) for one in found]


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


def _said_at(one: Letter, cluster: Cluster, keys: Keys) -> Letter:
    """The same, with where a producer said it."""
    if place := _ours(one.message, cluster).get(SAID_AT, b""):
        return replace(one, said_at=place.decode(errors="replace"))
    try:
        record = None if one.away else _set_aside(one.message, cluster=cluster, keys=keys)
    except CannotRedrive:
        record = None
    if record is None or not record.HasField("source"):
        return replace(one, said_at=one.name)
    source = record.source
    return replace(one, said_at=named(source.topic_id, partition=source.partition, offset=source.offset))


def _ours(message: dead_letter_pb2.DeadLetter, cluster: Cluster) -> Mapping[str, bytes]:
    """What `recommend` says of a record that it refused; on a public topic a stranger would have said it."""
    is_ours = message.topic == cluster.name("journal")
    return {header.key: header.value for header in message.original_headers} if is_ours else {}


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
    if (said := said_by(message, cluster=cluster, keys=keys)) is not None:
        return cluster.name(said[0])
    short = _ours(message, cluster).get(SAID_ON, b"").decode(errors="replace")
    topic = cluster.name(short) if short in NAMES else message.topic
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


def over_time(found: Iterable[Letter], step_ms: int) -> list[tuple[int, Counter[str]]]:
    """By the beginning of each step that has one."""
    steps: dict[int, Counter[str]] = {}
    for one in found:
        begin = one.message.refused_ms // step_ms * step_ms
        steps.setdefault(begin, Counter())[one.message.reason] += 1
    return sorted(steps.items())


def once(found: Iterable[Letter]) -> list[Letter]:
    """Keep one letter of each refused record: a door that was killed before its commit wrote another."""
    return list({one.name: one for one in found}.values())


@dataclass(frozen=True, slots=True)
class Again:
    """What goes back of a letter."""

    topic: str
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


def again(
    letter: Letter,
    *,
    cluster: Cluster,
    keys: Keys,
    leavers: Leavers,
    pseudonyms: Pseudonyms,
    edited: bytes | None = None,
) -> Again:
    """The original bytes, key and headers, with one header more; raises CannotRedrive. `edited`: the message as JSON in place of them.

    The same letter sent twice counts once, within the bounds in which a producer's own duplicate does.
    """
    topic = target(letter, cluster=cluster, keys=keys, leavers=leavers, pseudonyms=pseudonyms)
    message, mark = letter.message, (REDRIVEN, letter.name.encode())
    if (said := said_by(message, cluster=cluster, keys=keys)) is not None:
        # Its own key is a pseudonym.
        key = str(said[1].user_id).encode()  # type: ignore[attr-defined]
        return Again(topic, key, edited or MessageToJson(said[1]).encode(), (JSON, mark))
    if edited is None and message.original_length > len(message.original):
        raise CannotRedrive(
            f"it was cut: {len(message.original)} of {message.original_length} bytes were kept, so send the original again"
        )
    # Of a record that was sent again before, the newest letter counts.
    own = (SAID_ON, SAID_AT, REDRIVEN)
    headers = [(header.key, header.value) for header in message.original_headers if header.key not in own]
    if edited is not None:
        headers = [JSON, *(one for one in _binary(message, headers) if one[0].lower() != "content-type")]
    if SAID_ON in _ours(message, cluster):
        # Refused behind the door: the row may have noted the producer's own id as taken.
        headers += [("ce_source", b"oo.redrive"), ("ce_id", mark[1])]
    return Again(topic, message.original_key or None, edited or message.original, (*headers, mark))


def _binary(message: dead_letter_pb2.DeadLetter, headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The headers, with what a CloudEvent in structured mode says around its data, where that can be read."""
    record = Record(message.topic, 0, 0, 0, None, message.original, tuple(headers))
    try:
        return [(name, value or b"") for name, value in cloudevents.binary(record, bytes_max=MIB).headers]
    except BadFrame:
        return headers


async def redrive(
    letter: Letter, producer: Producer, *, cluster: Cluster, keys: Keys, leavers: Leavers, pseudonyms: Pseudonyms
) -> Delivered:
    """Send one again; returns where it stands now. Raises CannotRedrive. It is noted nowhere (deploy/redriving.py does that)."""
    one = again(letter, cluster=cluster, keys=keys, leavers=leavers, pseudonyms=pseudonyms)
    return await producer.produce(one.topic, key=one.key, value=one.value, headers=one.headers)


def _set_aside(
    message: dead_letter_pb2.DeadLetter, *, cluster: Cluster, keys: Keys
) -> journal_pb2.JournalRecord | None:
    """The journal record that was set aside; None for any other letter. Raises CannotRedrive.

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
    return record


def said_by(message: dead_letter_pb2.DeadLetter, *, cluster: Cluster, keys: Keys) -> tuple[str, Message] | None:
    """What a producer said in a journal record that was set aside, and its topic's short name; None for any other letter."""
    record = _set_aside(message, cluster=cluster, keys=keys)
    if record is None:
        return None
    payload = record.WhichOneof("payload") or ""
    if stays_open(record):
        raise CannotRedrive(
            "with it somebody leaves or begins again, and it names them by their pseudonym alone: have that asked again"
        )
    if payload not in ENTRANCES:
        raise CannotRedrive(f"nobody's words stand in it: {payload or None}")
    return ENTRANCES[payload], getattr(record, payload)

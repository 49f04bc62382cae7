"""Which topic a name means: a fetch names the topic's id, and so does a commit.

A topic that was deleted and made anew has its old name and another id, and its offsets begin again. By name, what one reads
of it looks as if the old one went on: records at offsets that were taken already, commits that skip records never read.
aiokafka 0.14 has fetches by name alone; Kafka has them by id since 3.1 (KIP-516), and an older one is asked by name.

And each fetch of aiokafka's names every partition, and each answer too: for 25 partitions 160 µs of processor time, mostly
to say that nothing has changed. Kafka remembers what was asked (a session, KIP-227): then a fetch names what has moved, and an answer
what has something new.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

_EPOCH_MAX = 2**31 - 1
_UUID_BYTES = 16

Place = tuple[str, int]
"""A topic's name and the partition's number, however it is spelled: a tuple of the two."""


class Limits(NamedTuple):
    """What a fetch waits for, and how much it takes."""

    wait_ms: int
    bytes_min: int
    bytes_max: int
    partition_bytes: int
    isolation: int


class Fetched(NamedTuple):
    """What an answer says of one partition."""

    place: Place
    error: int
    high: int
    stable: int
    """Behind it stand records of a transaction that may yet be aborted."""
    aborted: Sequence[tuple[int, int]]
    """(producer id, first offset) of transactions whose records do not count."""
    records: bytes


class Answer(NamedTuple):
    """What a broker answers."""

    error: int
    """Of the session."""
    session_id: int
    partitions: list[Fetched]


class Session:
    """What one broker remembers of our fetches, for one assignment: of another one, nothing is known to have been answered."""

    def __init__(self, session_id: int = 0) -> None:
        """`session_id`: the one before, of which the broker then forgets what it remembers."""
        self.id = session_id
        self.epoch = 0
        """Of the next fetch; 0 where it begins another one."""
        self._asked: Mapping[Place, int] = {}

    def end(self) -> None:
        """The next fetch begins another one: whether this one's last fetch has arrived is not known."""
        self.epoch = 0

    def ask(self, asked: Mapping[Place, int]) -> tuple[Mapping[Place, int], Collection[Place]]:
        """What has changed of what is asked for, place -> offset, and what is asked for no more."""
        before, self._asked = self._asked, asked
        if not self.epoch:
            return asked, ()
        return {place: at for place, at in asked.items() if before.get(place) != at}, before.keys() - asked.keys()

    def answered(self, answer: Answer) -> bool:
        """Take note of an answer; False where it is none, and the next fetch begins anew."""
        if answer.error:
            self.id = self.epoch = 0
            return False
        # A broker that has no room for another one gives no id, and is asked for all each time.
        self.id, self.epoch = answer.session_id, self.epoch % _EPOCH_MAX + 1 if answer.session_id else 0
        return True


class FetchById:
    """A fetch as aiokafka's connection keeps it until its answer is there, of the topics of these ids: a partition of any other
    topic of that name is refused. Written and read by hand (the protocol's version 13), because aiokafka's own way takes
    some hundred calls for each."""

    API_KEY: ClassVar[int] = 1
    API_VERSION: ClassVar[int] = 13

    def __init__(self, ids: Mapping[str, bytes], session: Session, limits: Limits, asked: Mapping[Place, int]) -> None:
        self._ids = ids
        self._session = session
        self._limits = limits
        self._asked = asked

    def frame(self, correlation_id: int, client_id: str) -> bytes:
        """The request as it is sent, once: the session goes on with it."""
        session, limits = self._session, self._limits
        named = session.id, session.epoch
        changed, gone = session.ask(self._asked)
        topics: defaultdict[str, list[bytes]] = defaultdict(list)
        for (topic, number), offset in changed.items():
            topics[topic].append(_ASKED.pack(number, -1, offset, -1, -1, limits.partition_bytes, 0))
        forgotten: defaultdict[str, list[bytes]] = defaultdict(list)
        for topic, number in gone:
            forgotten[topic].append(_NUMBER.pack(number))
        who = client_id.encode()
        body = b"".join(
            (
                _HEADER.pack(self.API_KEY, self.API_VERSION, correlation_id, len(who)),
                who,
                b"\0",
                _REQUEST.pack(-1, limits.wait_ms, limits.bytes_min, limits.bytes_max, limits.isolation, *named),
                _arrays(topics, self._ids),
                _arrays(forgotten, self._ids),
                b"\1\0",  # no rack, no tags
            )
        )
        return _NUMBER.pack(len(body)) + body

    def parse_response_header(self, answer: BytesIO) -> _Header:
        """Which of the connection's requests it answers."""
        return _Header(*_NUMBER.unpack(answer.read(_NUMBER.size)))

    @property
    def RESPONSE_TYPE(self) -> FetchById:  # noqa: N802 - aiokafka's name
        """What takes the answer."""
        return self

    def decode(self, answer: BytesIO) -> bytes:
        """The bytes behind the answer's place, to be read where an error is heard of."""
        return answer.read()

    def answer(self, data: bytes) -> Answer:
        """What they say. Raises ValueError where that is no answer."""
        names = {topic_id: name for name, topic_id in self._ids.items()}
        try:
            return _answer(data, _behind_tags(data, 0), names)
        except (IndexError, KeyError, struct.error) as error:
            raise ValueError(f"no answer to a fetch by id: {error!r}") from error


class _Header(NamedTuple):
    correlation_id: int


_NUMBER = struct.Struct(">i")
_HEADER = struct.Struct(">hhih")
"""API key, version, correlation id, length of the client's id."""
_REQUEST = struct.Struct(">iiiibii")
"""Replica, wait, least and most bytes, isolation, the session's id and epoch."""
_ASKED = struct.Struct(">iiqiqib")
"""Partition, leader's epoch, offset, last fetched epoch, the log's start, most bytes; no tags."""
_ANSWER = struct.Struct(">ihi")
"""Throttled for, error, the session's id."""
_PARTITION = struct.Struct(">ihqqq")
"""Partition, error, high watermark, last stable offset, the log's start."""
_ABORTED = struct.Struct(">qq")
"""Producer, first offset."""


def _arrays(of_topics: Mapping[str, Sequence[bytes]], ids: Mapping[str, bytes]) -> bytes:
    """Of each topic its id and an array."""
    parts = [_length(len(of_topics))]
    for name, items in of_topics.items():
        parts += (ids[name], _length(len(items)), *items, b"\0")
    return b"".join(parts)


def _length(n: int) -> bytes:
    """Of an array: one more than it has, seven bits a byte, the lowest first."""
    n += 1
    found = bytearray()
    while n > 0x7F:
        found.append(n & 0x7F | 0x80)
        n >>= 7
    found.append(n)
    return bytes(found)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """(number, the place behind it), written as `_length` does."""
    found = shift = 0
    while (byte := data[at]) & 0x80:
        found |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    return found | byte << shift, at + 1


def _behind_tags(data: bytes, at: int) -> int:
    count, at = _number(data, at)
    for _ in range(count):
        _, at = _number(data, at)
        size, at = _number(data, at)
        at += size
    return at


def _answer(data: bytes, at: int, names: Mapping[bytes, str]) -> Answer:
    _, error, session_id = _ANSWER.unpack_from(data, at)
    topics, at = _number(data, at + _ANSWER.size)
    found: list[Fetched] = []
    for _ in range(topics - 1):
        name = names[data[at : at + _UUID_BYTES]]
        partitions, at = _number(data, at + _UUID_BYTES)
        for _ in range(partitions - 1):
            at = _fetched(data, at, name, found)
        at = _behind_tags(data, at)
    if at > len(data):
        raise IndexError(at)
    return Answer(error, session_id, found)


def _fetched(data: bytes, at: int, name: str, found: list[Fetched]) -> int:
    """Add what stands of a partition; returns the place behind it."""
    number, error, high, stable, _ = _PARTITION.unpack_from(data, at)
    transactions, at = _number(data, at + _PARTITION.size)
    aborted = []
    for _ in range(transactions - 1):
        aborted.append(_ABORTED.unpack_from(data, at))
        at = _behind_tags(data, at + _ABORTED.size)
    size, at = _number(data, at + _NUMBER.size)  # behind the replica that would rather be asked
    end = at + max(size - 1, 0)
    if end > len(data):
        raise IndexError(end)
    found.append(Fetched((name, number), error, high, stable, aborted, data[at:end]))
    return _behind_tags(data, end)


def by_name(answer: Any) -> Answer:
    """The answer to a fetch of aiokafka's own, which names topics and has no session."""
    # In front of what every version has at its end stands one number more since version 11.
    back = -3 if answer.API_VERSION >= 11 else -2
    return Answer(
        getattr(answer, "error_code", 0),
        0,
        [
            Fetched((name, number), error, high, stable, more[back] or (), more[-1] or b"")
            for name, partitions in answer.topics
            for number, error, high, stable, *more in partitions
        ],
    )

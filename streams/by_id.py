"""Which topic a name means: a fetch names the topic's id, and so does a commit.

A topic that was deleted and made anew has its old name and another id, and its offsets begin again. By name, what one reads
of it looks as if the old one went on: records at offsets that were taken already, commits that skip records never read.
aiokafka 0.14 has fetches by name alone; Kafka has them by id since 3.1 (KIP-516), and an older one is asked by name.

And each fetch of aiokafka's names every partition, and each answer too: for 25 partitions 160 µs of processor time, mostly
to say that nothing has changed. Kafka remembers what was asked (a session, KIP-227): then a fetch names what has moved, and an answer
what has something new.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

_UNKNOWN_TOPIC_OR_PARTITION = 3
_OTHER_TOPIC = frozenset((100, 103))
"""UNKNOWN_TOPIC_ID, INCONSISTENT_TOPIC_ID: aiokafka knows neither."""

_EPOCH_MAX = 2**31 - 1

Asked = tuple[str, Sequence[tuple[int, int, int]]]
"""A topic's name, and of each of its partitions the number, the offset and the most bytes."""


class _Uuid(AbstractType[bytes]):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(16)


class _FetchResponse(Response):  # type: ignore[misc]
    API_KEY = 1
    API_VERSION = 13
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("highwater_offset", Int64),
                        ("last_stable_offset", Int64),
                        ("log_start_offset", Int64),
                        (
                            "aborted_transactions",
                            CompactArray(("producer_id", Int64), ("first_offset", Int64), ("tags", TaggedFields)),
                        ),
                        ("preferred_read_replica", Int32),
                        ("message_set", CompactBytes),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _FetchRequest(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 1
    API_VERSION = 13
    RESPONSE_TYPE = _FetchResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_time", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("fetch_offset", Int64),
                        ("last_fetched_epoch", Int32),
                        ("log_start_offset", Int64),
                        ("max_bytes", Int32),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        (
            "forgotten_topics_data",
            CompactArray(("topic_id", _Uuid), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)),
        ),
        ("rack_id", CompactString("utf-8")),
        ("tags", TaggedFields),
    )


class _Named(NamedTuple):
    """A response by id as aiokafka reads one by name."""

    API_VERSION: int
    topics: list[tuple[str, list[tuple[Any, ...]]]]


class Session:
    """What one broker remembers of our fetches, for one assignment: of another one, nothing is known to have been answered."""

    def __init__(self, assignment: object, *, session_id: int = 0) -> None:
        """`session_id`: the one before, of which the broker then forgets what it remembers."""
        self.assignment = assignment
        self.id = session_id
        self.answered_ms = 0
        """When the last fetch was answered: for every partition that was asked for, also where it says nothing of it."""
        self._epoch = 0
        self._asked: dict[tuple[str, int], tuple[int, int]] = {}

    def names(self, topic: str, number: int) -> bool:
        """Whether the last fetch was of this partition too."""
        return (topic, number) in self._asked

    def end(self) -> None:
        """The next fetch begins another one: whether this one's last fetch has arrived is not known."""
        self._epoch = 0

    def ask(self, topics: Sequence[Asked]) -> tuple[int, int, Sequence[Asked], list[tuple[str, list[int]]]]:
        """Its id and epoch, what has changed of what is asked for, and what is asked for no more."""
        asked = {(name, number): (offset, size) for name, some in topics for number, offset, size in some}
        before, self._asked = self._asked, asked
        if not self._epoch:
            return self.id, 0, topics, []
        changed = defaultdict(list)
        for (name, number), at in asked.items():
            if before.get((name, number)) != at:
                changed[name].append((number, *at))
        gone = defaultdict(list)
        for name, number in before.keys() - asked.keys():
            gone[name].append(number)
        return self.id, self._epoch, list(changed.items()), list(gone.items())

    def answered(self, session_id: int, error: int) -> bool:
        """Take note of an answer; False where it is none, and the next fetch begins anew."""
        if error:
            self.id = self._epoch = 0
            return False
        # A broker that has no room for another one gives no id, and is asked for all each time.
        self.id, self._epoch = session_id, self._epoch % _EPOCH_MAX + 1 if session_id else 0
        self.answered_ms = round(time.time() * 1000)
        return True


class FetchById(FetchRequest):  # type: ignore[misc]
    """A fetch of aiokafka's, of the topics of these ids: a partition of any other topic of that name is refused."""

    def __init__(self, request: FetchRequest, ids: Mapping[str, bytes], session: Session) -> None:
        self.__dict__.update(request.__dict__)
        self._ids = ids
        self._session = session

    def wait(self, wait_ms: int) -> None:
        """Let the broker wait so long for the first byte."""
        self._max_wait_ms = wait_ms

    def prepare(self, versions: dict[int, tuple[int, int]]) -> Any:
        """The request to send to a broker that knows these versions."""
        oldest, newest = versions[self.API_KEY]
        if not oldest <= _FetchRequest.API_VERSION <= newest or any(name not in self._ids for name, _ in self.topics):
            return super().prepare(versions)
        session_id, epoch, asked, gone = self._session.ask(self.topics)
        topics: list[Any] = [
            (self._ids[name], [(number, -1, offset, -1, -1, size, {}) for number, offset, size in partitions], {})
            for name, partitions in asked
        ]
        forgotten: list[Any] = [(self._ids[name], numbers, {}) for name, numbers in gone]
        limits = self._max_wait_ms, self._min_bytes, self._max_bytes, self._isolation_level
        return _FetchRequest(-1, *limits, session_id, epoch, topics, forgotten, self._rack_id, {})

    def named(self, response: Any) -> Any:
        """The answer, as aiokafka expects it."""
        if not isinstance(response, _FetchResponse):
            return response
        if not self._session.answered(response.session_id, response.error_code):
            return _Named(API_VERSION=11, topics=[])
        names = {topic_id: name for name, topic_id in self._ids.items()}
        topics = [
            (names[topic_id], [_partition(*told) for told in partitions]) for topic_id, partitions, _ in response.topics
        ]
        return _Named(API_VERSION=11, topics=topics)


def _partition(
    number: int,
    error: int,
    high: int,
    stable: int,
    start: int,
    aborted: list[tuple[int, int, Any]] | None,
    replica: int,
    records: bytes | None,
    _: Any,
) -> tuple[Any, ...]:
    error = _UNKNOWN_TOPIC_OR_PARTITION if error in _OTHER_TOPIC else error
    dropped = [(producer, first) for producer, first, _ in aborted] if aborted is not None else None
    return number, error, high, stable, start, dropped, replica, records or b""

"""Journal records that every fold passes over, because process after process ended while they were in work.

The word stands in `oo.set-aside` before any fold goes past the record, so whoever folds reads that topic first: a worker when a
partition comes to it, `oo verify` before it begins. It never reads a topic, nor decides which records these are (agents.in_hand).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from oo.v1 import journal_pb2
from streams.record import Record

REASON = "set-aside"


@dataclass(frozen=True, slots=True)
class Aside:
    """What a fold of one partition passes over: a record that was set aside, and the copies of it that follow.

    >>> aside, record = Aside(), Record("oo.journal", 0, 7, 0, b"ada", b"bytes")
    >>> aside.add(digest(record), offset=7)
    >>> [aside.passes(record._replace(offset=at)) for at in (6, 7, 9)], aside.passes(record._replace(value=b"other"))
    ([False, True, True], False)
    """

    _first: dict[bytes, int] = field(default_factory=dict)
    """By digest, the offset from which on."""

    def add(self, digest: bytes, *, offset: int) -> None:
        """Pass over it from this offset on."""
        self._first[digest] = min(offset, self._first.get(digest, offset))

    def passes(self, record: Record) -> bool:
        """Whether the fold goes past this record as if it were not there."""
        # Nearly always there is none, and then nothing is hashed.
        return bool(self._first) and self._first.get(digest(record), record.offset + 1) <= record.offset


NOTHING = Aside()
"""Never added to."""


async def passed_over(words: AsyncIterator[tuple[Record, Message]], *, journal_id: bytes) -> Mapping[int, Aside]:
    """Return by partition what every fold of this journal passes over, from all words of `oo.set-aside`."""
    found: dict[int, Aside] = defaultdict(Aside)
    async for _, word in words:
        assert isinstance(word, journal_pb2.SetAside), "one message type stands on this topic"
        if word.place.topic_id == journal_id:
            found[word.place.partition].add(word.digest, offset=word.place.offset)
    return dict(found)


def digest(record: Record) -> bytes:
    """Sixteen bytes over the value: the same for every copy that the door makes of one source record."""
    return hashlib.blake2b(record.value or b"", digest_size=16).digest()


def detail(ends: int) -> str:
    """What its dead letter says."""
    return f"{ends} processes ended one after the other while this record was in work; it changed nothing"

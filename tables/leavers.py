"""Who left, as the words of `oo.erasures` say: what a fold passes over, whom the door refuses, what a sink must not take.

It never asks a topic itself, and says nothing of another journal than its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

from oo.v1 import erased_pb2, journal_pb2
from streams import messages
from streams.frames import Frames
from streams.record import Record

WAIT_S_MAX = 30.0


class NotHeard(Exception):
    """The topic of erasures did not arrive; who folds on would read what nobody may read any more."""


@dataclass(slots=True, eq=False)
class Leavers:
    """The people who left one journal.

    >>> leavers = Leavers(b"J" * 16)
    >>> leavers.add(erased_pb2.Erased(user_id="ada", receipt="r", journal=_at(b"J" * 16, 7)))
    >>> leavers.passes(b"ada", 6), leavers.passes(b"ada", 7), leavers.passes(b"bob", 6), leavers.are_gone("ada")
    (True, False, False, True)
    """

    journal_id: bytes
    _words: dict[bytes, erased_pb2.Erased] = field(default_factory=dict)
    """The last of each person, by key."""
    _times: dict[int, dict[int, int]] = field(default_factory=dict)
    """Of each erasure its time, by partition and offset of the journal."""

    def add(self, word: erased_pb2.Erased) -> None:
        """Take one word in, however often it comes."""
        place = word.journal
        if place.topic_id != self.journal_id:
            return
        self._times.setdefault(place.partition, {})[place.offset] = word.erased_ms
        key = word.user_id.encode()
        known = self._words.get(key)
        if known is None or _order(known) < _order(word):
            self._words[key] = word

    def passes(self, key: bytes | None, offset: int) -> bool:
        """Whether a record, or what was made of it, is of a life that ended: its place in the journal tells."""
        if not self._words or key is None:
            return False
        word = self._words.get(key)
        return word is not None and offset < word.journal.offset

    def are_of_before(self, user_id: str, journal: journal_pb2.Position) -> bool:
        """Whether what came of this record of the journal is of a life that ended."""
        return journal.topic_id == self.journal_id and self.passes(user_id.encode(), journal.offset)

    def word_of(self, user_id: str) -> erased_pb2.Erased | None:
        """The last word of somebody who left, whether or not they have begun again."""
        return self._words.get(user_id.encode())

    def are_gone(self, user_id: str) -> bool:
        """Whether they left and have not begun again."""
        word = self.word_of(user_id)
        return word is not None and not word.HasField("began_again")

    def times(self, partition: int, *, above: int, to: int) -> list[int]:
        """When the erasures between two offsets of a partition were made, the second one's among them."""
        return [ms for offset, ms in self._times.get(partition, {}).items() if above < offset <= to]

    def __iter__(self) -> Iterator[erased_pb2.Erased]:
        return iter(self._words.values())

    def __len__(self) -> int:
        return len(self._words)


def _order(word: erased_pb2.Erased) -> tuple[int, bool]:
    return word.journal.offset, word.HasField("began_again")


def _at(topic_id: bytes, offset: int) -> journal_pb2.Position:
    return journal_pb2.Position(topic_id=topic_id, offset=offset)


class Leaving:
    """Follows the topic without a group, so that every process knows all of them."""

    def __init__(self, *, journal_id: bytes, schemas: Frames, ends: Callable[[], Awaitable[Mapping[int, int]]]) -> None:
        """`ends()`: where each partition of the topic ends now."""
        self.leavers = Leavers(journal_id)
        self._schemas = schemas
        self._ends = ends
        self._taken: dict[int, int] = {}
        self._arrived = asyncio.Condition()

    async def follow(self, records: AsyncIterable[list[Record]]) -> None:
        """Take words in for ever."""
        async for some in records:
            for record in some:
                if (word := read(self._schemas, record)) is not None:
                    self.leavers.add(word)
                self._taken[record.partition] = record.offset + 1
            async with self._arrived:
                self._arrived.notify_all()

    async def catch_up(self) -> None:
        """Return once all that was said until now is known; raises NotHeard after 30 s."""
        ends = await self._ends()
        try:
            async with asyncio.timeout(WAIT_S_MAX), self._arrived:
                await self._arrived.wait_for(
                    lambda: all(self._taken.get(number, 0) >= end for number, end in ends.items())
                )
        except TimeoutError:
            raise NotHeard(f"what oo.erasures says did not arrive within {WAIT_S_MAX:.0f} s") from None


def read(schemas: Frames, record: Record) -> erased_pb2.Erased | None:
    """The word in a record; None for what is none, which is said and passed over."""
    word = messages.read(schemas, "erasures", record)
    return word if isinstance(word, erased_pb2.Erased) else None

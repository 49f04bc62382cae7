"""How many calls of a day are left, over all processes that ask: spoken for in one topic before each call, and settled after it.

The topic has one partition, so its order is the same for all: a call may go out when the day's sum at the place of its own word is
within the budget. A process that is killed leaves what it spoke for, so a crash counts too much and never too little.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from oo.v1.model_budget_pb2 import ModelBudget as Word
from streams.frames import Frames
from streams.messages import read
from streams.producer import Producer
from streams.record import Record
from streams.units import DAY_MS

PLACES_MAX = 1_000
"""Of how many of the last words it is remembered what the day's sum was with them."""
HEARD_S_MAX = 30.0


class NotHeard(Exception):
    """Kafka took a word and did not give it back."""


class Spent(NamedTuple):
    """Of one day, alias and process."""

    calls: int = 0
    tokens: int = 0

    def plus(self, *, calls: int, tokens: int) -> Spent:
        """So much more, or less; never below nothing."""
        return Spent(max(0, self.calls + calls), max(0, self.tokens + tokens))


class Key(NamedTuple):
    """Whose a word is."""

    day: int
    model: str
    process: str

    def name(self) -> bytes:
        """The record's key.

        >>> Key(20_000, "tip-generator", "5f0c").name()
        b'20000/tip-generator/5f0c'
        """
        return f"{self.day}/{self.model}/{self.process}".encode()


class Reserved(NamedTuple):
    """One call that may go out."""

    key: Key
    tokens: int


@dataclass(slots=True)
class Book:
    """What stands in the topic, and what the day's sum was at each of its last places. Pure.

    >>> book = Book()
    >>> book.take(7, Key(1, "m", "a"), Spent(1, 10)); book.take(8, Key(1, "m", "b"), Spent(4, 20)); book.take(9, Key(1, "m", "a"), Spent(2, 20))
    >>> book.calls_at[8], book.calls(1, "m"), book.calls(2, "m")
    (5, 6, 0)
    """

    spent: dict[Key, Spent] = field(default_factory=dict)
    calls_at: dict[int, int] = field(default_factory=dict)
    """By offset: calls of that word's day and alias, with it."""

    def take(self, offset: int, key: Key, spent: Spent) -> None:
        """Take the word at this place in."""
        self.spent[key] = spent
        self.calls_at[offset] = self.calls(key.day, key.model)
        if len(self.calls_at) > PLACES_MAX:
            del self.calls_at[next(iter(self.calls_at))]

    def calls(self, day: int, model: str) -> int:
        """Of this day and alias, over all processes."""
        return sum(one.calls for key, one in self.spent.items() if (key.day, key.model) == (day, model))

    def forget(self, *, before_day: int) -> list[Key]:
        """Forget days that nobody asks for any more; return whose words these were."""
        gone = [key for key in self.spent if key.day < before_day]
        for key in gone:
            del self.spent[key]
        return gone


class ModelBudget:
    """The day's calls of each alias."""

    def __init__(
        self,
        *,
        schemas: Frames,
        topic: str,
        producer: Producer,
        process: str,
        day_calls: int,
        clock_ms: Callable[[], int],
    ) -> None:
        """`topic`: its full name; `process`: of this start, and no other's; `day_calls`: of each alias, by days of UTC."""
        self._schemas = schemas
        self._topic = topic
        self._producer = producer
        self._day_calls = day_calls
        self._clock_ms = clock_ms
        self._process = process
        self._mine: dict[Key, Spent] = {}
        self._book = Book()
        self._taken = 0
        self._arrived = asyncio.Condition()
        self._turn = asyncio.Lock()

    async def follow(self, records: AsyncIterable[list[Record]]) -> None:
        """Take words in for ever."""
        async for some in records:
            for record in some:
                word = read(self._schemas, "model-budget", record)
                if isinstance(word, Word):
                    key = Key(word.day, word.model, word.process)
                    self._book.take(record.offset, key, Spent(word.calls, word.tokens))
                self._taken = record.offset + 1
            async with self._arrived:
                self._arrived.notify_all()

    def left(self, model: str) -> int:
        """Calls that may go out today still, as far as is known here."""
        return max(0, self._day_calls - self._book.calls(self._today(), model))

    async def reserve(self, model: str, *, tokens: int, share: float = 1.0) -> Reserved | None:
        """Speak for one call of at most so many tokens; None where the day has none left. `share`: of the day's calls that this one may be among."""
        most = int(self._day_calls * share)
        async with self._turn:
            if self._day_calls - self.left(model) >= most:
                return None
            key = Key(self._today(), model, self._process)
            offset = await self._add(key, calls=1, tokens=tokens)
            if self._book.calls_at[offset] > most:
                # Somebody else's word stands before it.
                await self._add(key, calls=-1, tokens=-tokens)
                return None
            await self._take_out(self._book.forget(before_day=key.day - 1))
            return Reserved(key, tokens)

    async def settle(self, one: Reserved, *, calls: int, tokens: int) -> None:
        """Put in place of what was spoken for what it came to: 1 call or none, and its tokens."""
        async with self._turn:
            await self._add(one.key, calls=calls - 1, tokens=tokens - one.tokens)

    async def _take_out(self, keys: Sequence[Key]) -> None:
        """Have compaction take words of days that are over; whoever does it again does no harm."""
        for key in keys:
            self._mine.pop(key, None)
        await asyncio.gather(
            *(self._producer.produce(self._topic, key=key.name(), value=None, partition=0) for key in keys)
        )

    def _today(self) -> int:
        return self._clock_ms() // DAY_MS

    async def _add(self, key: Key, *, calls: int, tokens: int) -> int:
        """Say this process's new sum; returns where it stands, once all before it is known here."""
        said = self._mine[key] = self._mine.get(key, Spent()).plus(calls=calls, tokens=tokens)
        word = Word(day=key.day, model=key.model, process=key.process, calls=said.calls, tokens=said.tokens)
        delivered = await self._producer.produce(
            self._topic, key=key.name(), value=self._schemas.frame("model-budget", word), partition=0
        )
        await self._heard(delivered.offset)
        return delivered.offset

    async def _heard(self, offset: int) -> None:
        try:
            async with asyncio.timeout(HEARD_S_MAX), self._arrived:
                await self._arrived.wait_for(lambda: self._taken > offset)
        except TimeoutError:
            raise NotHeard(f"what was said in {self._topic} did not come back within {HEARD_S_MAX:.0f} s") from None

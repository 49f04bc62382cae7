"""A great many people's rows, made quickly: some hundred lives folded through `step`, each row given to many users.

A copy is the folded row, byte for byte, under another user id, journal offset and next wake: it parses, folds and
compresses as its original does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from bench.lives import LIVES
from bench.row_bytes import live
from oo.v1 import row_pb2
from streams.frames import Frames
from streams.units import DAY_MS

MIX = {"light": 90, "typical": 9, "heavy": 1}
"""Of 100 people: 90 % have 5 tasks and reacted 6 times, 9 % have 30 and 60, 1 % have 200 and 400."""
WAKES_WITHIN_MS = DAY_MS
"""Next wakes are spread over a day."""


@dataclass(frozen=True, slots=True)
class Population:
    """The folded rows, ready to be copied."""

    originals: tuple[bytes, ...]
    user_at: tuple[int, ...]
    """Where the user id stands in each."""
    now_ms: int
    """Later than all that the rows have seen."""

    @property
    def mean_bytes(self) -> float:
        """Of a row, without its frame."""
        return sum(map(len, self.originals)) / len(self.originals)

    def rows(
        self, count: int, *, seed: int = 1, first: int = 0, now_ms: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """(user id, serialized row) of this many people; offsets count up from `first`, they wake in the day from `now_ms`."""
        now_ms = self.now_ms if now_ms is None else now_ms
        chance = random.Random(seed)
        for number in range(first, first + count):
            at = number % len(self.originals)
            message, user = bytearray(self.originals[at]), user_id(number)
            message[1:9] = number.to_bytes(8, "little")
            message[10:18] = (now_ms + chance.randrange(WAKES_WITHIN_MS)).to_bytes(8, "little")
            message[self.user_at[at] : self.user_at[at] + len(user)] = user
            yield user, bytes(message)


def user_id(number: int) -> bytes:
    """As long as a UUID, and in no order."""
    return b"%08x-0000-4000-8000-%012x" % (number * 2_654_435_761 % (1 << 32), number)


@cache
def population() -> Population:
    """The same at every call."""
    originals, user_at, now_ms = [], [], 0
    for name, count in MIX.items():
        for seed in range(count):
            row: row_pb2.UserRow = live(LIVES[name], seed=1000 + seed)
            message = row.SerializeToString(deterministic=True)
            originals.append(message)
            user_at.append(message.index(row.user_id.encode()))
            now_ms = max(now_ms, row.now_ms)
    random.Random(1).shuffle(order := list(range(len(originals))))
    return Population(tuple(originals[at] for at in order), tuple(user_at[at] for at in order), now_ms)


def header() -> bytes:
    """What stands before each row on its topic; the schema id is made up."""
    return Frames().header("rows", row_pb2.UserRow)

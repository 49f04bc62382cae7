"""How far Valkey holds each partition of the topic of tips, and of settings, kept in Valkey itself.

It never says more than Valkey has: the mark is written after the tips, moves only from the value that its writer last
saw, and goes with the tips when Valkey is emptied or comes back older than it was. So a mark that is not where its
writer left it is how a loss is noticed, whatever its cause.

Keys, documented for operators:

    oo:published           hash: partition -> topic id (hex), a colon, and the offset after the last tip written
    oo:published:settings  the same of settings
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, cast

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.exceptions import NoScriptError

Argument = str | bytes | int
"""What a script takes."""

KEY: Final = "oo:published"
KEYS: Final = {"tips": KEY, "settings": f"{KEY}:settings"}

MOVE: Final = """
local function move(key, first)
  local moved = {}
  for i = first, #ARGV, 3 do
    local now = redis.call('HGET', key, ARGV[i]) or ''
    if now == ARGV[i + 1] then
      redis.call('HSET', key, ARGV[i], ARGV[i + 2])
      moved[#moved + 1] = 1
    else
      moved[#moved + 1] = 0
    end
  end
  return moved
end
"""
"""A function for scripts: moves the marks of the hash `key` that its arguments from `first` on are of (`Moves.arguments`)."""
_MOVE = f"{MOVE}\nreturn move(KEYS[1], 1)"


async def evaluated(client: Valkey, script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> object:
    """What a script gives, in one round trip but for the first time that this Valkey hears of it."""
    for _ in range(2):
        try:
            return await cast("Awaitable[object]", client.evalsha(sha_of(script), len(keys), *keys, *arguments))  # type: ignore[arg-type]  # numbers and bytes go as they are
        except NoScriptError:
            await client.script_load(script)
    raise NoScriptError("Valkey forgets its scripts as soon as they are loaded")


@cache
def sha_of(script: str) -> str:
    """By which Valkey knows a script that it was told."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Mark:
    """Every tip below `offset` in this topic's partition has been written.

    >>> Mark(bytes(2), 7).text, Mark.parse("0000:7") == Mark(bytes(2), 7)
    ('0000:7', True)
    """

    topic_id: bytes
    offset: int

    @property
    def text(self) -> str:
        """As it stands in Valkey."""
        return f"{self.topic_id.hex()}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """None for what no writer of ours wrote.

        >>> Mark.parse("what?") is None
        True
        """
        topic_id, _, offset = text.partition(":")
        try:
            return cls(bytes.fromhex(topic_id), int(offset))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Moves:
    """Marks to move, each if it still stands where it was seen (empty: no mark)."""

    key: str
    of: Mapping[int, tuple[str, Mark]]
    """partition -> where it was seen, and where it moves to."""

    @property
    def arguments(self) -> list[str]:
        """As `MOVE` takes them."""
        return [text for partition, (seen, to) in self.of.items() for text in (str(partition), seen, to.text)]

    def moved(self, answers: Sequence[int]) -> set[int]:
        """Which did, as `MOVE` answers."""
        return {partition for partition, answer in zip(self.of, answers, strict=True) if answer == 1}


class TipProgress:
    """Reads and moves the marks. Every call raises `connectors.valkey.Unreachable`'s kinds."""

    def __init__(self, url: str, *, key: str = KEY, timeout_s: float = 1.0, connections_max: int = 8) -> None:
        self._key = key
        self._client = Valkey.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=connections_max,
                timeout=timeout_s,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
            )
        )

    async def read(self) -> dict[int, str]:
        """Each partition's mark as it stands; none for a partition that was never written."""
        marks = await cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(self._key))
        return {int(partition): text.decode(errors="replace") for partition, text in marks.items()}

    async def move(self, partition: int, *, seen: str, to: Mark) -> bool:
        """Move the mark if it still stands at `seen` (empty: no mark); says whether it did."""
        return partition in await self.move_all(self.moves({partition: (seen, to)}))

    def moves(self, of: Mapping[int, tuple[str, Mark]]) -> Moves:
        """Of these marks."""
        return Moves(self._key, of)

    async def move_all(self, moves: Moves) -> set[int]:
        """Move them in one round trip; says which did."""
        return moves.moved(cast("list[int]", await evaluated(self._client, _MOVE, [moves.key], moves.arguments)))

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

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
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from valkey.asyncio import BlockingConnectionPool, Valkey
from valkey.exceptions import NoScriptError

KEY: Final = "oo:published"
KEYS: Final = {"tips": KEY, "settings": f"{KEY}:settings"}

_MOVE = """
local moved = {}
for i = 1, #ARGV, 3 do
  local now = redis.call('HGET', KEYS[1], ARGV[i]) or ''
  if now == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
    moved[#moved + 1] = 1
  else
    moved[#moved + 1] = 0
  end
end
return moved
"""
_MOVE_SHA = hashlib.sha1(_MOVE.encode(), usedforsecurity=False).hexdigest()


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
        return partition in await self.move_all({partition: (seen, to)})

    async def move_all(self, moves: Mapping[int, tuple[str, Mark]]) -> set[int]:
        """Move each partition's mark that still stands where it was seen, in one round trip; says which did."""
        arguments = [text for partition, (seen, to) in moves.items() for text in (str(partition), seen, to.text)]
        for _ in range(2):
            try:
                moved = await cast("Awaitable[list[int]]", self._client.evalsha(_MOVE_SHA, 1, self._key, *arguments))
            except NoScriptError:
                await self._client.script_load(_MOVE)
            else:
                return {partition for partition, answer in zip(moves, moved, strict=True) if answer == 1}
        raise NoScriptError("Valkey forgets its scripts as soon as they are loaded")

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

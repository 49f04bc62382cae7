"""What signing in keeps in Valkey: tickets that count once, counts of tries, and the word that a session has ended.

It never holds anything that cannot be begun anew, and no name in the open: names are MACs, values sealed.

Keys, documented for operators:

    oo:auth:ticket:KIND:MAC   string: a sign-in, or a device's, that is under way; ten minutes
    oo:auth:tries:KIND:MAC:NUMBER  how often somebody asked in a minute, or in a day; for two of them
    oo:auth:ended             stream: ids of sessions that have ended, the last 10,000
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from valkey.asyncio import BlockingConnectionPool, Valkey

from connectors.valkey import Unreachable

ENDED: Final = "oo:auth:ended"
ENDED_MAX: Final = 10_000
HEARD_MS: Final = 300
"""How long Valkey waits before it says that nothing has ended."""
FRESH_S: Final = 0.9
"""What is remembered of a session counts while everything was heard that had ended so long ago."""
UNDER_WAY_S: Final = 600
"""So long a person may take at their provider, or with a device's code."""
READ_MAX: Final = 1_000
MINUTE_S: Final = 60


class Tickets:
    """One per process. Every call raises `connectors.valkey.Unreachable`'s kinds."""

    def __init__(self, url: str, *, timeout_s: float = 1.0) -> None:
        pool = BlockingConnectionPool.from_url(
            url, max_connections=16, timeout=timeout_s, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
        )
        self._client = Valkey.from_pool(pool)

    async def put(self, kind: str, name: str, value: str, *, lasts_s: int) -> None:
        """Keep it for so long."""
        await self._client.set(f"oo:auth:ticket:{kind}:{name}", value, ex=lasts_s)

    async def look(self, kind: str, name: str) -> str | None:
        """What it holds; it stays."""
        value = await self._client.get(f"oo:auth:ticket:{kind}:{name}")
        return None if value is None else value.decode()

    async def replace(self, kind: str, name: str, value: str) -> bool:
        """Another value until the same end; False where it is gone."""
        return bool(await self._client.set(f"oo:auth:ticket:{kind}:{name}", value, xx=True, keepttl=True))

    async def take(self, kind: str, name: str) -> str | None:
        """What it holds, to one caller alone."""
        value = await self._client.getdel(f"oo:auth:ticket:{kind}:{name}")
        return None if value is None else value.decode()

    async def tries(self, kind: str, who: str, *, within_s: int = MINUTE_S) -> tuple[int, int]:
        """Count one more; returns how many there were in this minute, or whatever it is, and how many seconds are left of it."""
        now_s = int(time.time())
        key = f"oo:auth:tries:{kind}:{who}:{now_s // within_s}"
        async with self._client.pipeline(transaction=False) as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, 2 * within_s)
            count, _ = await pipeline.execute()
        return int(count), within_s - now_s % within_s

    async def ended(self, session_ids: list[str]) -> None:
        """Tell every edge that these have ended."""
        if not session_ids:
            return
        async with self._client.pipeline(transaction=False) as pipeline:
            for one in session_ids:
                pipeline.xadd(ENDED, {"session": one}, maxlen=ENDED_MAX, approximate=True)
            await pipeline.execute()

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


class EndedFeed:
    """Hears of sessions that end, on a connection of its own. `begun` is called whenever what ended before is not known."""

    def __init__(self, url: str, *, begun: Callable[[], None], ended: Callable[[str], None]) -> None:
        self._url = url
        self._begun = begun
        self._ended = ended
        self._heard_s = float("-inf")

    @property
    def fresh(self) -> bool:
        """Whether everything was heard that ended FRESH_S ago or before."""
        return time.monotonic() - self._heard_s < FRESH_S

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            client = Valkey.from_url(self._url, socket_timeout=1.0, socket_connect_timeout=1.0)
            try:
                await self._follow(client)
            except Unreachable:
                await asyncio.sleep(0.2)
            finally:
                await client.aclose()
                await client.connection_pool.disconnect()

    async def _follow(self, client: Valkey) -> None:
        newest = await client.xrevrange(ENDED, count=1)
        last = newest[0][0] if newest else "0-0"
        self._begun()
        while True:
            asked_s = time.monotonic()
            answer = await client.xread({ENDED: last}, count=READ_MAX, block=HEARD_MS)
            entries = answer[0][1] if answer else []
            for name, fields in entries:
                last = name
                self._ended(fields[b"session"].decode())
            if len(entries) < READ_MAX:
                self._heard_s = asked_s

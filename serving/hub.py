"""Open streams by user: wakes those whose tip may have changed.

It never carries a tip: whoever is woken reads again, so that a stream cannot show what a read would not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from connectors.valkey import Pushes, TipStore


class TooManyStreams(Exception):
    """The user's streams, or all of them, have reached their maximum."""


class Listener:
    """One stream's bell."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, timeout_s: float) -> None:
        """Until rung since the last wait, or until the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        self._rung.clear()


class Hub:
    """One per process, over one subscription connection."""

    def __init__(self, store: TipStore, *, streams_max: int, streams_per_user_max: int) -> None:
        self._streams_max = streams_max
        self._streams_per_user_max = streams_per_user_max
        self._listeners: dict[str, set[Listener]] = {}
        self._count = 0
        self.pushes = Pushes(store, changed=self.changed)
        self.closing = False

    @property
    def count(self) -> int:
        return self._count

    def changed(self, user_id: str) -> None:
        for listener in self._listeners.get(user_id, ()):
            listener.ring()

    @contextlib.contextmanager
    def listen(self, user_id: str) -> Iterator[Listener]:
        """A bell that rings from now on. Raises TooManyStreams."""
        mine = self._listeners.get(user_id, set())
        if self._count >= self._streams_max or len(mine) >= self._streams_per_user_max:
            raise TooManyStreams
        listener = Listener()
        self._listeners.setdefault(user_id, mine).add(listener)
        self._count += 1
        try:
            yield listener
        finally:
            self._count -= 1
            mine.discard(listener)
            if not mine:
                self._listeners.pop(user_id, None)

    async def follow(self, user_id: str) -> None:
        """Make sure that pushes for this user reach us; call after `listen`."""
        await self.pushes.add(user_id)

    async def unfollow(self, user_id: str) -> None:
        """Stop following a user whom nobody listens to any more."""
        if user_id not in self._listeners:
            await self.pushes.remove(user_id)

    def close(self) -> None:
        """Tell every stream to end, so that a stopping server does not wait for them."""
        self.closing = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.ring()

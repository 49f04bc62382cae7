"""Open streams by user: wakes those whose tip may have changed.

It never carries a tip: whoever is woken reads again, so that a stream cannot show what a read would not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


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
    """One per process."""

    def __init__(self, *, streams_max: int, streams_per_user_max: int) -> None:
        self._streams_max = streams_max
        self._streams_per_user_max = streams_per_user_max
        self._listeners: dict[str, set[Listener]] = {}
        self._count = 0
        self.closing = False

    @property
    def count(self) -> int:
        return self._count

    def changed(self, user_id: str | None) -> None:
        """Wake this user's streams; None wakes everybody's."""
        woken = self._listeners.values() if user_id is None else (self._listeners.get(user_id, ()),)
        for listeners in woken:
            for listener in listeners:
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

    def close(self) -> None:
        """Tell every stream to end, so that a stopping server does not wait for them."""
        self.closing = True
        self.changed(None)

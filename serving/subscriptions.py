"""Open streams by user: wakes those whose tip may have changed.

It never carries a tip: whoever is woken reads again, so that a stream cannot show what a read would not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator


class TooManyStreams(Exception):
    """The user's streams, or all of them, have reached their maximum."""


class Subscription:
    """One open stream, to be woken."""

    def __init__(self) -> None:
        self._notified = asyncio.Event()

    def notify(self) -> None:
        self._notified.set()

    async def wait(self, timeout_s: float) -> None:
        """Until notified since the last wait, or until the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._notified.wait()
        self._notified.clear()


class Subscriptions:
    """One per process."""

    def __init__(self, *, streams_max: int, streams_per_user_max: int) -> None:
        self._streams_max = streams_max
        self._streams_per_user_max = streams_per_user_max
        self._by_user: dict[str, set[Subscription]] = {}
        self._streams: Counter[str] = Counter()
        self._count = 0
        self.closing = False

    @property
    def count(self) -> int:
        """How many streams are open."""
        return self._count

    def has(self, user_id: str) -> bool:
        """Whether a stream of theirs is open."""
        return user_id in self._streams

    def changed(self, user_id: str | None) -> None:
        """Wake this user's streams and waiting reads; None wakes everybody's."""
        woken = self._by_user.values() if user_id is None else (self._by_user.get(user_id, ()),)
        for subscriptions in woken:
            for subscription in subscriptions:
                subscription.notify()

    @contextlib.contextmanager
    def subscribe(self, user_id: str) -> Iterator[Subscription]:
        """A subscription that is notified from now on. Raises TooManyStreams."""
        mine = self._streams.get(user_id, 0)
        if self._count >= self._streams_max or mine >= self._streams_per_user_max:
            raise TooManyStreams
        self._count += 1
        self._streams[user_id] += 1
        try:
            with self.listen(user_id) as subscription:
                yield subscription
        finally:
            self._count -= 1
            self._streams[user_id] -= 1
            if not self._streams[user_id]:
                del self._streams[user_id]

    @contextlib.contextmanager
    def listen(self, user_id: str) -> Iterator[Subscription]:
        """The same for a read that waits a moment: it counts against no maximum."""
        mine = self._by_user.setdefault(user_id, set())
        subscription = Subscription()
        mine.add(subscription)
        try:
            yield subscription
        finally:
            mine.discard(subscription)
            if not mine:
                self._by_user.pop(user_id, None)

    def close(self) -> None:
        """Tell every stream to end, so that a stopping server does not wait for them."""
        self.closing = True
        self.changed(None)

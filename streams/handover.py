"""What the Kafka client's thread and the app's loop hand each other: what may be fetched, and what was.

It never waits in the client's thread and never touches a record.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from faust.types import TP

from streams.record import Batch


class Aim(NamedTuple):
    """What the client's thread may fetch: one value, so that both parts are of one moment."""

    epoch: int
    partitions: frozenset[TP]


class Push(NamedTuple):
    """What one look at the fetched records gave: of each partition that moved, its batch if there is one, and its position."""

    epoch: int
    batches: list[tuple[TP, Batch | None, int]]


class Handover:
    """Its methods belong to the app's loop; the client's thread reads `aim` and `taken`, and calls `arrived` over that loop."""

    def __init__(self) -> None:
        self.aim = Aim(0, frozenset())
        """Its epoch changes whenever the flow stops, so that what was fetched before is known as overtaken."""
        self.taken = 0
        """Pushes that the app's loop is done with."""
        self._pushed: deque[Push] = deque()
        self._stirred = asyncio.Event()

    def arrived(self, push: Push) -> None:
        """Add what was fetched."""
        self._pushed.append(push)
        self._stirred.set()

    def stir(self) -> None:
        """Have `next` return, were it with nothing."""
        self._stirred.set()

    async def next(self) -> Push | None:
        """Wait for a push; None when stirred without one."""
        if not self._pushed:
            self._stirred.clear()
            await self._stirred.wait()
        return self._pushed.popleft() if self._pushed else None

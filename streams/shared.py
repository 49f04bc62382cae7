"""One question for all who ask it in the same turn of the loop, as the partitions of an assignment do. It keeps no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Asks once for those who wait already; whoever comes when it has begun gets the next answer, never an older one."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        if self._next is None:
            self._next = asyncio.create_task(self._turn())
        # One who is cancelled takes the answer from nobody else.
        return await asyncio.shield(self._next)

    async def _turn(self) -> T:
        await asyncio.sleep(0)
        self._next = None
        return await self._ask()

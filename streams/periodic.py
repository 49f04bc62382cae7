"""What an app does again and again beside its streams. One way to say so for every agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import faust


def every(app: faust.App, period_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Have the app await `work()`, each time `period_s` after it last returned, until the app stops.

    What it raises ends the app. It is no clock: a slow `work` moves all later turns.
    """

    async def turns() -> None:
        while not app.should_stop:
            await asyncio.sleep(period_s)
            await work()

    app.task(turns)

"""Tries again, for as long as it takes, what fails because a server is down.

It never tries again what is the message's own fault: only the exceptions named by the caller.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from streams.backoff import PATIENT

logger = logging.getLogger(__name__)

T = TypeVar("T")


LOG_EVERY_S = 30.0


async def until_done(work: Callable[[], Awaitable[T]], *, on: tuple[type[Exception], ...], what: str) -> T:
    """Await `work()` until it no longer raises one of `on`, and return its result.

    Cancelling ends it at once. Holds nothing between attempts but what `work` closes over.
    """
    failures = 0
    began_s = logged_s = time.monotonic()
    while True:
        try:
            result = await work()
        except on as error:
            failures += 1
            now_s = time.monotonic()
            if failures == 1 or now_s - logged_s >= LOG_EVERY_S:
                logged_s = now_s
                # The first line only: what follows may quote the data.
                reason = (str(error).splitlines() or [""])[0]
                logger.warning(
                    "%s.unavailable failures=%d for_s=%.0f error=%s reason=%s",
                    what,
                    failures,
                    now_s - began_s,
                    type(error).__name__,
                    reason,
                )
            await asyncio.sleep(PATIENT.pause_s(failures))
        else:
            if failures:
                logger.info("%s.back failures=%d after_s=%.1f", what, failures, time.monotonic() - began_s)
            return result

"""Tries again, for as long as it takes, what fails because a server is down.

It never tries again what is the message's own fault: only the exceptions named by the caller.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts: they double up to the maximum, and each is drawn from its upper half."""

    first_s: float = 0.1
    max_s: float = 5.0

    def pause_s(self, failures: int) -> float:
        """The longest pause after this many failures in a row.

        >>> [Backoff(first_s=0.5, max_s=5.0).pause_s(n) for n in (1, 2, 3, 4, 5, 5000)]
        [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
        """
        return min(self.max_s, self.first_s * 2.0 ** min(failures - 1, 32))


PATIENT = Backoff()

LOG_EVERY_S = 30.0


async def until_done(
    work: Callable[[], Awaitable[T]], *, on: tuple[type[Exception], ...], what: str, backoff: Backoff
) -> T:
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
            pause_s = backoff.pause_s(failures)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - a pause may be guessed
        else:
            if failures:
                logger.info("%s.back failures=%d after_s=%.1f", what, failures, time.monotonic() - began_s)
            return result

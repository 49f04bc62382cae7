"""Notices that this process, or its event loop, did not run for a while (SIGSTOP, a suspended machine, a blocked loop).

Never lets such a process go on once its session is over: Kafka has given its partitions away, and what it would write now is
a zombie's. Within its session it first asks whether its name is still its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

EXIT_STALE = 75
"""EX_TEMPFAIL: start me again."""
EXIT_NAME_LOST = 78
"""EX_CONFIG: another process runs under this one's name (streams/name.py), so do not start me again."""


class Watchdog:
    """Beats in the event loop; `check` ends the process when a beat is overdue by the session timeout."""

    confirm: Callable[[], None]
    """Called in the loop's thread where a beat is overdue and the session is not: returns if this process may go on."""

    def __init__(self, *, limit_s: float = 10.0) -> None:
        self.confirm = lambda: None
        self._limit_s = limit_s
        self._every_s = min(0.5, limit_s / 4)
        self._last = self._now()

    def check(self) -> None:
        """Exit at once if the last beat is too old, and ask whether to go on if it is overdue.

        Cheap: called in the loop's thread, before each batch and each produce.
        """
        if self._look() > 2 * self._every_s:
            self.confirm()
            self._last = self._now()

    def _look(self) -> float:
        """Seconds since the last beat; exits if they are too many."""
        monotonic_s, wall_s = self._now()
        since_s = max(monotonic_s - self._last[0], wall_s - self._last[1])
        if since_s > self._limit_s:
            log.critical("watchdog.expired seconds=%.1f", since_s)
            # Not an exception: it would unwind through code that still writes.
            os._exit(EXIT_STALE)
        return since_s

    async def beat(self) -> None:
        """Beat until cancelled."""
        self._last = self._now()
        # A loop that is blocked for good never looks; its client's thread would hold the partitions for ever.
        over = threading.Event()
        threading.Thread(target=self._keep_looking, args=(over,), name="watchdog", daemon=True).start()
        try:
            while True:
                await asyncio.sleep(self._every_s)
                self.check()
                self._last = self._now()
        finally:
            over.set()

    def _keep_looking(self, over: threading.Event) -> None:
        while not over.wait(self._every_s):
            self._look()

    @staticmethod
    def _now() -> tuple[float, float]:
        # The boot clock goes on while the machine sleeps, the wall clock also shows a paused virtual machine.
        return time.clock_gettime(time.CLOCK_BOOTTIME), time.time()

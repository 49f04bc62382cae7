"""Where the time of a start goes: a line in the log for each part of it. It never changes what is done."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

log = logging.getLogger(__name__)


class Starting:
    """One process's start, from its birth on."""

    def __init__(self) -> None:
        self._began_s = self._last_s = _born_s()
        self._spent_s = 0.0
        self._modules = len(sys.modules)
        self._told: set[str] = set()
        self.last = "nothing"
        """The part that was told last."""
        self.moves = 0
        """Grows as long as the start gets on."""

    def moved(self) -> None:
        """Something was done of the part that is under way."""
        self.moves += 1

    def part(self, name: str) -> None:
        """Say how long it took since the part before, how much of that was work of this process, and how many modules were
        imported meanwhile; once for each name. What is neither was waited: for others, or for a processor.
        """
        if name in self._told:
            return
        self._told.add(name)
        self.last = name
        self.moved()
        now_s, spent_s = time.clock_gettime(time.CLOCK_BOOTTIME), time.process_time()
        log.info(
            "start.part part=%s seconds=%.3f worked=%.3f imported=%d since_birth=%.3f",
            name,
            now_s - self._last_s,
            spent_s - self._spent_s,
            len(sys.modules) - self._modules,
            now_s - self._began_s,
        )
        self._last_s, self._spent_s, self._modules = now_s, spent_s, len(sys.modules)


def _born_s() -> float:
    """When this process was forked, on the boot clock; now where the system does not tell."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return ticks / os.sysconf("SC_CLK_TCK")

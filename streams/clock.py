"""The wall clock, for agents and servers. The pure core never imports it: its time comes in as `now_ms`."""

from __future__ import annotations

import time


def clock_ms() -> int:
    """Read the wall clock, in ms since 1970."""
    return time.time_ns() // 1_000_000

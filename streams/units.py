"""Spans of time in milliseconds and seconds, once for all rooms. It reads no clock (streams/clock.py does)."""

from __future__ import annotations

from typing import Final

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
DAY_S: Final = DAY_MS // SECOND_MS

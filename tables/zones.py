"""Local time from the pinned tzdata package, never from the machine's own zone files: a replay elsewhere must agree."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata

from streams.units import DAY_MS

TZDATA_VERSION: str = tzdata.__version__

_FIRST_MS, _LAST_MS = -62_135_596_800_000 + DAY_MS, 253_402_300_799_000 - DAY_MS
"""A day inside of the years 1 to 9999, so that every zone has a date for it."""

_PARTS = ("night", "morning", "afternoon", "evening")


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name; raises ValueError for a name that tzdata does not have.

    >>> zone("Europe/Berlin").key
    'Europe/Berlin'
    """
    if name in ("", "UTC"):
        name = "Etc/UTC"
    parts = name.split("/")
    # The name comes from outside and becomes a path: only plain words may pass.
    if not all(part and part.replace("_", "").replace("-", "").replace("+", "").isalnum() for part in parts):
        raise ValueError(f"{name!r} is not a time zone name")
    try:
        with resources.files("tzdata").joinpath("zoneinfo", *parts).open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
    except (OSError, ValueError) as error:
        raise ValueError(f"tzdata {TZDATA_VERSION} has no time zone {name!r}") from error


def local(time_ms: int, *, time_zone: str) -> datetime:
    """That second on a clock in that zone; one outside of the years 1 to 9999 is of the calendar's first or last day.

    >>> local(0, time_zone="Europe/Berlin").isoformat()
    '1970-01-01T01:00:00+01:00'
    """
    if not _FIRST_MS <= time_ms <= _LAST_MS:
        time_ms = _FIRST_MS if time_ms < _FIRST_MS else _LAST_MS
    return datetime.fromtimestamp(time_ms // 1000, zone(time_zone))


def part_of_day(time_ms: int, *, time_zone: str) -> int:
    """Return the part of the day of that instant in that zone."""
    return part_of(local(time_ms, time_zone=time_zone))


def part_of(clock: datetime) -> int:
    """0 night, 1 morning, 2 afternoon, 3 evening: six hours each, from midnight on the person's clock."""
    return clock.hour // 6


def part_name(part: int) -> str:
    """Return the word for a part of the day."""
    return _PARTS[part]

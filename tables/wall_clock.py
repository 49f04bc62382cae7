"""Minutes and days as people write them: "07:30", "mon" to "sun". Pure; it knows no time zone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)


def clock(minute: int) -> str:
    """Spell a minute since midnight.

    >>> clock(450), clock(1440)
    ('07:30', '24:00')
    """
    return f"{minute // 60:02}:{minute % 60:02}"


def days_of(weekdays: int) -> list[Day]:
    """Name the days that QuietHours.weekdays adds up; all of them for 0.

    >>> days_of(65), days_of(bits_of(["tue"])), len(days_of(0))
    (['mon', 'sun'], ['tue'], 7)
    """
    return [day for at, day in enumerate(DAYS) if weekdays >> at & 1] or list(DAYS)


def bits_of(days: Iterable[str]) -> int:
    """Add days up as QuietHours.weekdays has them. Raises ValueError for what is no day."""
    return sum({1 << DAYS.index(day) for day in days})

"""Values of iCalendar properties as plain Python values: text, moments, moments' names, zones, lengths.

It never raises over a value that is missing or twice there: the first counts, none is empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from icalendar import Component
from icalendar.prop import vDDDTypes
from icalendar.timezone import tzp

_LENGTH = re.compile(r"([+-]?)P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,8})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?")


@dataclass(frozen=True, slots=True)
class Length:
    """How long something takes: days by the calendar, then an exact time; a day has 23 hours where clocks go ahead."""

    days: int = 0
    exact: timedelta = timedelta()

    @classmethod
    def parse(cls, text: str) -> Length | None:
        """None for what is no length. "PT24H" is exact, "P1D" is not (RFC 5545, 3.3.6).

        >>> Length.parse('P1W2DT1H')
        Length(days=9, exact=datetime.timedelta(seconds=3600))
        >>> Length.parse('PT24H').days, Length.parse('soon'), Length.parse('P')
        (0, None, None)
        """
        match = _LENGTH.fullmatch(text.strip().upper())
        if match is None or not any(match.groups()[1:]):
            return None
        weeks, days, hours, minutes, seconds = (int(number or 0) for number in match.groups()[1:])
        sign = -1 if match[1] == "-" else 1
        exact = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        return cls(sign * (weeks * 7 + days), sign * exact)

    def after(self, start: date | datetime) -> date | datetime:
        """Return the end of what begins then. Of days only days remain, one at least.

        >>> spring = datetime(2026, 3, 28, 12, tzinfo=ZoneInfo('Europe/Berlin'))
        >>> Length(1).after(spring).hour, Length(exact=timedelta(days=1)).after(spring).hour
        (12, 13)
        >>> Length(exact=timedelta(hours=36)).after(date(2026, 3, 28))
        datetime.date(2026, 3, 30)
        """
        if not isinstance(start, datetime):
            return start + timedelta(days=max(self.days - (-self.exact // timedelta(days=1)), 1))
        wall = start + timedelta(days=self.days)
        return (wall.astimezone(UTC) + self.exact).astimezone(start.tzinfo)


def text_of(component: Component, name: str) -> str:
    """Return a property's text, empty where there is none."""
    value = component.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    return "" if value is None else str(value)


def first(component: Component, name: str) -> date | datetime | None:
    """Return a property's moment, None where there is none or none that can be read."""
    value = component.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    found = value.dt if isinstance(value, vDDDTypes) else None
    return found if isinstance(found, date) else None


def instant(moment: date | datetime, *, zone: tzinfo) -> datetime:
    """Return the point in time: floating times and days in `zone`, a day at its midnight.

    >>> instant(date(2026, 11, 23), zone=ZoneInfo('Europe/Berlin')).isoformat()
    '2026-11-23T00:00:00+01:00'
    """
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(), tzinfo=zone)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def moment_id(moment: date | datetime, *, zone: tzinfo) -> str:
    """Return the name of an instance of a series: the moment at which its rule puts it, in UTC, or its day.

    >>> moment_id(datetime(2026, 11, 23, 9), zone=ZoneInfo('Europe/Berlin'))
    '20261123T080000Z'
    >>> moment_id(date(2026, 11, 23), zone=ZoneInfo('Europe/Berlin'))
    '20261123'
    """
    if not isinstance(moment, datetime):
        return moment.strftime("%Y%m%d")
    return instant(moment, zone=zone).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def named_zone(name: str) -> ZoneInfo | None:
    """Return the zone of an IANA name, None where there is no such zone.

    >>> named_zone('Europe/Nowhere') is None
    True
    """
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, LookupError):
        return None


def zone_of(name: str) -> tzinfo | None:
    """Return the zone that a TZID means: of the file, of the database, a Windows name, or a path that ends in one of
    these.

    >>> zone_of('tzone://Microsoft/Utc'), zone_of('Atlantis/Capital')
    (zoneinfo.ZoneInfo(key='UTC'), None)
    """
    parts = name.strip().strip('"').split("/")
    for begin in range(max(len(parts) - 3, 0), len(parts)):
        tail = "/".join(parts[begin:])
        if tail.upper() in ("UTC", "GMT", "Z"):
            return ZoneInfo("UTC")
        found: tzinfo | None = tzp.timezone(tail) if tail else None
        if found is not None:
            return found
    return tzp.timezone(name)

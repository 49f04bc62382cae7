"""Values of iCalendar properties as plain Python values: text, moments, moments' names, zones.

It never raises over a value that is missing or twice there: the first counts, none is empty.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from icalendar import Component
from icalendar.prop import vDDDTypes


def text_of(component: Component, name: str) -> str:
    """A property's text, empty where there is none."""
    value = component.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    return "" if value is None else str(value)


def first(component: Component, name: str) -> date | datetime | timedelta | None:
    """A property's moment or length, None where there is none or none that can be read."""
    value = component.get(name)
    if isinstance(value, list):
        value = value[0] if value else None
    found = getattr(value, "dt", None) if isinstance(value, vDDDTypes) or hasattr(value, "dt") else None
    return found if isinstance(found, date | timedelta) else None


def instant(moment: date | datetime, *, zone: ZoneInfo) -> datetime:
    """The point in time: floating times and days in `zone`, a day at its midnight.

    >>> instant(date(2026, 11, 23), zone=ZoneInfo('Europe/Berlin')).isoformat()
    '2026-11-23T00:00:00+01:00'
    """
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(), tzinfo=zone)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def moment_id(moment: date | datetime, *, zone: ZoneInfo) -> str:
    """The name of an instance of a series: the moment at which its rule puts it, in UTC, or its day.

    >>> moment_id(datetime(2026, 11, 23, 9), zone=ZoneInfo('Europe/Berlin'))
    '20261123T080000Z'
    >>> moment_id(date(2026, 11, 23), zone=ZoneInfo('Europe/Berlin'))
    '20261123'
    """
    if not isinstance(moment, datetime):
        return moment.strftime("%Y%m%d")
    return instant(moment, zone=zone).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def named_zone(name: str) -> ZoneInfo | None:
    """The zone of an IANA name, None where there is no such zone.

    >>> named_zone('Europe/Nowhere') is None
    True
    """
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, LookupError):
        return None

"""The instances of one event series inside a span of time.

It never follows a rule that would take minutes to unroll: such a rule is refused before the first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import recurring_ical_events
from icalendar import Calendar, Component

from connectors.ical.value import first, instant, moment_id

STEPS_MAX = 100_000
"""Steps that a rule may take from its beginning to the end of the span: a daily one has 270 years for it."""
_STEPS_A_DAY = {"SECONDLY": 86_400, "MINUTELY": 1_440, "HOURLY": 24}


class RepeatsTooOften(ValueError):
    """A rule that is no person's calendar."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One time that an event takes place. Days for an all-day event."""

    component: Component
    origin: Component
    """The component of the file that it comes from."""
    start: date | datetime
    end: date | datetime
    moment: str
    """Where its rule puts it, whatever it was moved to: its name within the series."""


def instances(
    series: Sequence[Component], *, zone: ZoneInfo, declared: bool, start: datetime, end: datetime
) -> Iterator[Instance]:
    """Instances of the components of one UID that touch the span, in no order; some may lie up to a day outside.

    `zone` is that of floating times; `declared` if the calendar itself names it (X-WR-TIMEZONE): then rules in UTC
    run in it too, as those who write that property mean. Raises RepeatsTooOften, or ValueError for a series without
    a beginning.
    """
    for component in series:
        if first(component, "DTSTART") is None:
            raise ValueError("no DTSTART")
        _check_steps(component, zone=zone, end=end)
    if len(series) == 1 and not any(name in series[0] for name in ("RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")):
        begins, ends = _span(series[0])
        yield Instance(series[0], series[0], begins, ends, moment_id(begins, zone=zone))
        return
    calendar = Calendar()
    # Which component an instance was copied from is not told by the library; this travels with the copy.
    for index, component in enumerate(series):
        component["X-OO-ORIGIN"] = str(index)
        calendar.add_component(component)
    if declared or any(_floating(component) for component in series):
        calendar.add("X-WR-TIMEZONE", zone.key)
    query = recurring_ical_events.of(calendar)
    # A day more on each side: days and floating times are compared there without their zones.
    for component in query.between(start - timedelta(days=1), end + timedelta(days=1)):
        begins, ends = _span(component)
        origin = series[int(component["X-OO-ORIGIN"])]
        named = first(component, "RECURRENCE-ID")
        recurrence = origin.get("RECURRENCE-ID")
        # All that follows a "this and future" change carries that change's id: its own beginning names it better.
        ranged = recurrence is not None and "RANGE" in recurrence.params
        moment: date | datetime = begins if ranged or not isinstance(named, date) else named
        if isinstance(begins, datetime) and not isinstance(moment, datetime):
            moment = begins
        yield Instance(component, origin, begins, ends, moment_id(moment, zone=zone))


def _span(component: Component) -> tuple[date | datetime, date | datetime]:
    """Beginning and end of an event that takes place once; raises ValueError where it ends before it begins."""
    begins, ends, lasts = (first(component, name) for name in ("DTSTART", "DTEND", "DURATION"))
    assert isinstance(begins, date)
    if not isinstance(ends, date):
        if isinstance(lasts, timedelta):
            ends = begins + lasts
        else:
            ends = begins if isinstance(begins, datetime) else begins + timedelta(days=1)
    utc = ZoneInfo("UTC")
    zone = begins.tzinfo if isinstance(begins, datetime) and isinstance(begins.tzinfo, ZoneInfo) else utc
    if instant(ends, zone=zone) < instant(begins, zone=zone):
        raise ValueError("it ends before it begins")
    return begins, ends


def _check_steps(component: Component, *, zone: ZoneInfo, end: datetime) -> None:
    rules = component.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        begins = first(component, "DTSTART")
        assert isinstance(begins, date)
        days = max((end - instant(begins, zone=zone)).days, 1)
        a_day = _STEPS_A_DAY.get(str((rule.get("FREQ") or ["DAILY"])[0]).upper(), 1)
        for part in ("BYHOUR", "BYMINUTE", "BYSECOND"):
            a_day *= max(len(rule.get(part) or ()), 1)
        interval = max(int((rule.get("INTERVAL") or [1])[0]), 1)
        if days * a_day / interval > STEPS_MAX:
            raise RepeatsTooOften("this event repeats too often, or since too long, to be followed")


def _floating(component: Component) -> bool:
    begins = first(component, "DTSTART")
    return isinstance(begins, datetime) and begins.tzinfo is None

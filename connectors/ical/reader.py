"""iCalendar: the events of a window of days and every task of a calendar file as signals.

It never opens a file and never asks the clock. Events are expanded by recurring-ical-events; what the format leaves
open (all-day events, floating times, cancelled instances) is decided in docs/adr (icalendar).
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from icalendar import Component, Timezone
from icalendar.prop import vDDDTypes
from icalendar.timezone import tzp

from connectors.ical.pieces import Piece, pieces
from connectors.ical.recurrence import RepeatsTooOften, instances
from connectors.ical.task import task
from connectors.ical.value import first, instant, moment_id, named_zone, text_of
from connectors.source_file import (
    SECONDS_MAX,
    TITLE_MAX,
    Parsed,
    Problem,
    cut,
    decode,
    external_id,
    one_line,
    timestamp,
)
from oo.v1.signal_pb2 import CalendarEventRemoved, CalendarEventUpserted, Signal, TaskCompleted, TaskRemoved

SOURCE = "ical"
DAYS_BACK = 1
DAYS_AHEAD = 28
INSTANCES_MAX = 500
"""Of events in the window; later ones are left out, and said. As many removals."""
TASKS_MAX = 20_000
_MUST_READ = ("DTSTART", "DTEND", "DURATION", "DUE", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID", "UID", "STATUS")


@dataclass(frozen=True, slots=True)
class Window:
    """The days that are expanded."""

    start: datetime
    end: datetime

    @classmethod
    def around(cls, now: datetime) -> Window:
        """One day back to four weeks ahead.

        >>> Window.around(datetime(2026, 11, 23)).end
        datetime.datetime(2026, 12, 21, 0, 0)
        """
        return cls(start=now - timedelta(days=DAYS_BACK), end=now + timedelta(days=DAYS_AHEAD))


@dataclass(frozen=True, slots=True)
class Read:
    """A component that could be parsed, and where it stands."""

    component: Component
    piece: Piece
    zone: ZoneInfo
    """Of floating times: the calendar's (X-WR-TIMEZONE), else the person's."""
    cancelled: bool


def parse(data: bytes, *, user_id: str, zone: ZoneInfo, now: datetime, modified: datetime) -> Parsed:
    """Every event instance around `now` and every task as a signal, and what could not be taken as it stands.

    Signals of events are in order of start. Event time is a component's own LAST-MODIFIED or DTSTAMP where that lies
    between 1990 and `now`, else `modified`. Raises UnreadableFile.
    """
    text, encoding_problem = decode(data)
    found, problems = pieces(text)
    if encoding_problem:
        problems.insert(0, encoding_problem)
    read = _read(found, zone=zone, problems=problems)
    window = Window.around(now)

    def signal(component: Component) -> Signal:
        return Signal(user_id=user_id, source=SOURCE, event_time=_event_time(component, now=now, modified=modified))

    signals: list[Signal] = []
    tasks = [item for item in read if item.piece.name == "VTODO"]
    if len(tasks) > TASKS_MAX:
        what = f"{len(tasks):,} tasks; {TASKS_MAX:,} taken"
        problems.append(Problem(tasks[TASKS_MAX].piece.line, what, skipped=True, hides=True))
    for item in tasks[:TASKS_MAX]:
        said = task(item.component, line=item.piece.line, zone=item.zone, cancelled=item.cancelled, problems=problems)
        if said is None:
            continue
        carrier = signal(item.component)
        if isinstance(said, TaskCompleted):
            carrier.task_completed.CopyFrom(said)
        elif isinstance(said, TaskRemoved):
            carrier.task_removed.CopyFrom(said)
        else:
            carrier.task_upserted.CopyFrom(said)
        signals.append(carrier)

    series: dict[str, list[Read]] = defaultdict(list)
    for item in read:
        if item.piece.name == "VEVENT":
            series[_uid(item)].append(item)
    upserted: list[tuple[Component, CalendarEventUpserted]] = []
    removed: dict[str, Component] = {}
    for uid, items in series.items():
        try:
            for component, said_of_event in _events(uid, items, window=window):
                if isinstance(said_of_event, CalendarEventUpserted):
                    upserted.append((component, said_of_event))
                else:
                    removed[said_of_event.external_id] = component
        except RepeatsTooOften as error:
            problems.append(Problem(items[0].piece.line, f"{error}; left out", skipped=True))
        # The library reaches deep into dateutil: what a strange rule raises there is not a closed set.
        except Exception as error:  # noqa: BLE001
            what = f"this event cannot be expanded ({type(error).__name__}: {cut(one_line(str(error)), 80)}); left out"
            problems.append(Problem(items[0].piece.line, what, skipped=True))

    upserted.sort(key=lambda pair: (pair[1].start.seconds, pair[1].external_id))
    for kind, number in (("events", len(upserted)), ("cancelled events", len(removed))):
        if number > INSTANCES_MAX:
            what = f"{number:,} {kind} in {DAYS_AHEAD} days; the first {INSTANCES_MAX} taken"
            problems.append(Problem(0, what, skipped=True, hides=True))
    for component, event in upserted[:INSTANCES_MAX]:
        carrier = signal(component)
        carrier.calendar_event_upserted.CopyFrom(event)
        signals.append(carrier)
    kept = {event.external_id for _, event in upserted}
    for removed_id, component in list(removed.items())[:INSTANCES_MAX]:
        if removed_id not in kept:
            carrier = signal(component)
            carrier.calendar_event_removed.CopyFrom(CalendarEventRemoved(external_id=removed_id))
            signals.append(carrier)
    return Parsed(
        signals=tuple(signals),
        problems=tuple(sorted(problems, key=lambda problem: problem.line)),
    )


def _read(found: Sequence[Piece], *, zone: ZoneInfo, problems: list[Problem]) -> list[Read]:
    """Components from their text. A calendar's own VTIMEZONEs count before its events wherever they stand."""
    # The library keeps the zones that files define under their names for the whole process: begin with none.
    tzp.use_zoneinfo()
    read: list[Read] = []
    zones_unknown: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for piece in sorted(found, key=lambda piece: piece.name != "VTIMEZONE"):
            try:
                component = Component.from_ical(piece.text)
            except Exception as error:  # noqa: BLE001 - the library's parsers raise whatever Python raises on odd values
                what = f"{piece.name} cannot be read ({cut(one_line(str(error)), 100)}); left out"
                problems.append(Problem(piece.line, what, skipped=True))
                continue
            if isinstance(component, Timezone):
                continue
            broken = [name for name, _ in component.errors if name is None or name in _MUST_READ]
            if broken:
                what = f"{piece.name} has a broken {broken[0] or 'line'}; left out"
                problems.append(Problem(piece.line, what, skipped=True))
                continue
            for unknown in _unknown_zones(component) - zones_unknown:
                zones_unknown.add(unknown)
                what = f"the time zone {cut(one_line(unknown), 60)!r} is not known; read in {zone.key}"
                problems.append(Problem(piece.line, what))
            read.append(
                Read(
                    component=component,
                    piece=piece,
                    zone=named_zone(piece.calendar.properties.get("X-WR-TIMEZONE", "")) or zone,
                    cancelled=text_of(component, "STATUS").upper() == "CANCELLED"
                    or piece.calendar.properties.get("METHOD", "").upper() == "CANCEL",
                )
            )
    return read


def _events(
    uid: str, items: Sequence[Read], *, window: Window
) -> Iterator[tuple[Component, CalendarEventUpserted | CalendarEventRemoved]]:
    """What one series says about the window: its instances, and those that were taken out of it."""
    cancelled = {id(item.component) for item in items if item.cancelled}
    zone = items[0].zone
    repeats = len(items) > 1 or any(
        name in items[0].component for name in ("RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")
    )
    components = [item.component for item in items]
    declared = named_zone(items[0].piece.calendar.properties.get("X-WR-TIMEZONE", "")) is not None
    for instance in instances(components, zone=zone, declared=declared, start=window.start, end=window.end):
        component = instance.component
        instance_id = external_id(f"{uid}/{instance.moment}" if repeats else uid)
        start, end = instant(instance.start, zone=zone), instant(instance.end, zone=zone)
        # The window is the library's search; here it is exact. An instant counts on its edge, as a meeting does not.
        if not (start < window.end and (end > window.start or start == end >= window.start)):
            continue
        if id(instance.origin) in cancelled or text_of(component, "STATUS").upper() == "CANCELLED":
            yield component, CalendarEventRemoved(external_id=instance_id)
            continue
        yield (
            component,
            CalendarEventUpserted(
                external_id=instance_id,
                title=cut(one_line(text_of(component, "SUMMARY")), TITLE_MAX) or "(no title)",
                start=_timestamp(start),
                end=_timestamp(end),
                busy=_busy(component, all_day=not isinstance(instance.start, datetime)),
            ),
        )
    for item in items:
        if first(item.component, "RECURRENCE-ID") is None:
            for taken_out in _taken_out(item):
                if window.start <= instant(taken_out, zone=zone) < window.end:
                    gone = external_id(f"{uid}/{moment_id(taken_out, zone=zone)}")
                    yield item.component, CalendarEventRemoved(external_id=gone)


def _taken_out(item: Read) -> Iterator[date | datetime]:
    """The instances that EXDATE names; a bare day takes out that day's instance of a timed event."""
    begins = first(item.component, "DTSTART")
    values = item.component.get("EXDATE", [])
    for value in values if isinstance(values, list) else [values]:
        for entry in value.dts:
            out = entry.dt
            if isinstance(begins, datetime) and not isinstance(out, datetime):
                out = datetime.combine(out, time(begins.hour, begins.minute, begins.second), tzinfo=begins.tzinfo)
            yield out


def _busy(component: Component, *, all_day: bool) -> bool:
    """Whether the person is taken: Outlook's own word where there is one, then TRANSP.

    A day-long entry (a birthday, a holiday, a fair) takes nobody's time unless it says OPAQUE.
    """
    status = text_of(component, "X-MICROSOFT-CDO-BUSYSTATUS").upper()
    if status in ("FREE", "WORKINGELSEWHERE"):
        return False
    transparency = text_of(component, "TRANSP").upper()
    if all_day:
        return transparency == "OPAQUE" or status in ("BUSY", "OOF")
    return transparency != "TRANSPARENT"


def _uid(item: Read) -> str:
    """The UID; without one, which the format forbids but exporters do, what makes the event this one."""
    uid = text_of(item.component, "UID").strip()
    if uid:
        return uid
    begins = first(item.component, "DTSTART")
    return f"no-uid:{text_of(item.component, 'SUMMARY')}:{begins}"


def _unknown_zones(component: Component) -> set[str]:
    """TZIDs that neither the file nor the time zone database knows; their times come out floating."""
    values = [component.get(name) for name in ("DTSTART", "DTEND", "DUE", "RECURRENCE-ID")]
    return {
        str(value.params["TZID"])
        for value in values
        if isinstance(value, vDDDTypes)
        and "TZID" in value.params
        and isinstance(value.dt, datetime)
        and value.dt.tzinfo is None
    }


def _event_time(component: Component, *, now: datetime, modified: datetime) -> Timestamp:
    for name in ("LAST-MODIFIED", "DTSTAMP"):
        value = first(component, name)
        if isinstance(value, datetime) and value.tzinfo is not None and value.year >= 1990 and value <= now:
            return _timestamp(value)
    return _timestamp(modified)


def _timestamp(moment: datetime) -> Timestamp:
    seconds = moment.timestamp()
    return timestamp(int(min(max(seconds, 0), SECONDS_MAX) * 1000))

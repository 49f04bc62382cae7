"""iCalendar: the events of a window of days and every task of a calendar file as signals.

It never opens a file and never asks the clock. What the format leaves open (all-day events, floating times, cancelled
instances, revisions) is decided in docs/adr (0012, 0029).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp
from icalendar import Component

from connectors.ical.component import Read, read
from connectors.ical.pieces import pieces, whole_characters
from connectors.ical.recurrence import RepeatsTooOften, Series, instances
from connectors.ical.task import Waiting, task
from connectors.ical.value import first, instant, moment_id, text_of
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
YEAR_MIN = 2000
"""The door refuses what is said to be older (tables/message_rules.py); a stamp like that is passed over."""


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


def parse(
    data: bytes,
    *,
    user_id: str,
    zone: ZoneInfo,
    now: datetime,
    modified: datetime,
    instances_max: int = INSTANCES_MAX,
) -> Parsed:
    """Return every event instance around `now` and every open task as a signal, and what could not be taken as it
    stands.

    `zone` is where the person lives. Signals of events are in order of start. Event time is a component's own
    LAST-MODIFIED or DTSTAMP where that lies between 2000 and `now`, else `modified`. Past `instances_max` the file counts as
    cut off. Raises UnreadableFile.
    """
    text, encoding_problem = decode(whole_characters(data))
    found, problems = pieces(text)
    if encoding_problem:
        problems.insert(0, encoding_problem)
    unread: set[tuple[str, str]] = set()
    items = read(found, home=zone, problems=problems, unread=unread)

    def signal(component: Component) -> Signal:
        return Signal(user_id=user_id, source=SOURCE, event_time=_event_time(component, now=now, modified=modified))

    signals, waiting = [], 0
    tasks = list(_current(item for item in items if item.piece.name == "VTODO"))
    if len(tasks) > TASKS_MAX:
        what = f"{len(tasks):,} tasks; {TASKS_MAX:,} taken"
        problems.append(Problem(tasks[TASKS_MAX][1].piece.line, what, skipped=True, hides=True))
    for other, item in tasks[:TASKS_MAX]:
        said = task(item, now=now, problems=problems)
        if isinstance(said, Waiting):
            waiting += 1
        if said is None or isinstance(said, Waiting):
            continue
        if other:
            said.external_id = external_id(f"{said.external_id}/{text_of(item.component, 'SUMMARY')}")
        carrier = signal(item.component)
        if isinstance(said, TaskCompleted):
            carrier.task_completed.CopyFrom(said)
        elif isinstance(said, TaskRemoved):
            carrier.task_removed.CopyFrom(said)
        else:
            carrier.task_upserted.CopyFrom(said)
        signals.append(carrier)

    upserted, removed = _events(
        [item for item in items if item.piece.name == "VEVENT"],
        window=Window.around(now),
        problems=problems,
        unread=unread,
    )
    upserted.sort(key=lambda pair: (pair[1].start.seconds, pair[1].external_id))
    for kind, number in (("events", len(upserted)), ("cancelled events", len(removed))):
        if number > instances_max:
            what = f"{number:,} {kind} in {DAYS_AHEAD} days; the first {instances_max:,} taken"
            problems.append(Problem(0, what, skipped=True, hides=True))
    for component, event in upserted[:instances_max]:
        carrier = signal(component)
        carrier.calendar_event_upserted.CopyFrom(event)
        signals.append(carrier)
    kept = {event.external_id for _, event in upserted}
    for removed_id, component in list(removed.items())[:instances_max]:
        if removed_id not in kept:
            carrier = signal(component)
            carrier.calendar_event_removed.CopyFrom(CalendarEventRemoved(external_id=removed_id))
            signals.append(carrier)
    return Parsed(
        signals=tuple(signals),
        problems=tuple(sorted(problems, key=lambda problem: problem.line)),
        waiting=waiting,
        unread=tuple(sorted(f"{'task' if name == 'VTODO' else 'event'}:{external_id(uid)}" for name, uid in unread)),
    )


def _current(items: Iterable[Read]) -> Iterator[tuple[bool, Read]]:
    """Yield the latest revision of each component, in the file's order; True for another one under a UID that is taken.

    Revisions are told by SEQUENCE, then DTSTAMP, then their place. Two of equal revision that differ in begin (or due
    date) and title are no revisions of one another: some exporters give one UID to all.
    """
    groups: dict[tuple[str, object], list[Read]] = defaultdict(list)
    for item in items:
        groups[item.uid, first(item.component, "RECURRENCE-ID")].append(item)
    for group in groups.values():
        latest = max(item.revision for item in group)
        distinct: dict[tuple[str, str], Read] = {}
        for item in group:
            if item.revision != latest:
                continue
            title, when = text_of(item.component, "SUMMARY"), str(first(item.component, "DTSTART"))
            if item.piece.name == "VTODO":
                when = title
            for known in distinct:
                if title == known[0] or when == known[1]:
                    distinct[known] = item
                    break
            else:
                distinct[title, when] = item
        for number, item in enumerate(distinct.values()):
            yield number > 0, item


def _events(
    items: Sequence[Read], *, window: Window, problems: list[Problem], unread: set[tuple[str, str]]
) -> tuple[list[tuple[Component, CalendarEventUpserted]], dict[str, Component]]:
    """Return what all series say about the window: instances with what they come from, and ids that were taken out."""
    series: dict[str, list[Read]] = defaultdict(list)
    for other, item in _current(items):
        begins = first(item.component, "DTSTART")
        name = f"{item.uid}/{moment_id(begins, zone=item.zone)}" if other and begins is not None else item.uid
        series[name].append(item)
    upserted: list[tuple[Component, CalendarEventUpserted]] = []
    removed: dict[str, Component] = {}
    began_s = time.thread_time()
    for uid, members in series.items():
        if len(upserted) + len(removed) > EXPANDED_MAX or time.thread_time() - began_s > EXPANDING_S:
            what = "so much repeats here that it was not followed to its end; what comes behind was left out"
            problems.append(Problem(members[0].piece.line, what, skipped=True, hides=True))
            break
        try:
            for component, said in list(_series(uid, members, window=window)):
                if isinstance(said, CalendarEventUpserted):
                    upserted.append((component, said))
                else:
                    removed[said.external_id] = component
            continue
        except RepeatsTooOften as error:
            what = f"{error}; left out"
        # dateutil raises whatever a strange rule makes it trip over: that is not a closed set.
        except Exception as error:  # noqa: BLE001
            what = f"this event cannot be expanded ({type(error).__name__}: {cut(one_line(str(error)), 80)}); left out"
        problems.append(Problem(members[0].piece.line, what, skipped=True))
        unread.add(("VEVENT", uid))
    return upserted, removed


EXPANDED_MAX = 100_000
"""Instances of one text; the last series may go past it."""
EXPANDING_S = 20.0
"""Processor time for them: others wait."""


def _series(
    uid: str, items: Sequence[Read], *, window: Window
) -> Iterator[tuple[Component, CalendarEventUpserted | CalendarEventRemoved]]:
    """Yield what one series says about the window: its instances, and those that were taken out of it."""
    repeats = (
        len(items) > 1
        or items[0].rules
        or any(name in items[0].component for name in ("RDATE", "EXDATE", "RECURRENCE-ID"))
    )
    for instance in instances(items, start=window.start, end=window.end):
        item = instance.origin
        instance_id = external_id(f"{uid}/{instance.moment}" if repeats else uid)
        all_day = not isinstance(instance.start, datetime)
        zone = item.home if all_day else item.zone
        start, end = instant(instance.start, zone=zone), instant(instance.end, zone=zone)
        # An instant counts on the window's edge, as a meeting does not.
        if not (start < window.end and (end > window.start or start == end >= window.start)):
            continue
        if item.cancelled:
            yield item.component, CalendarEventRemoved(external_id=instance_id)
            continue
        yield (
            item.component,
            CalendarEventUpserted(
                external_id=instance_id,
                title=cut(one_line(text_of(item.component, "SUMMARY")), TITLE_MAX) or "(no title)",
                start=_timestamp(start),
                end=_timestamp(end),
                busy=_busy(item, all_day=all_day),
            ),
        )
    for item in items:
        begins = first(item.component, "DTSTART")
        if first(item.component, "RECURRENCE-ID") is None and begins is not None:
            series = Series.of(item, begins)
            for taken_out in series.taken_out():
                if window.start <= instant(taken_out, zone=series.zone) < window.end:
                    gone = external_id(f"{uid}/{moment_id(taken_out, zone=series.zone)}")
                    yield item.component, CalendarEventRemoved(external_id=gone)


def _busy(item: Read, *, all_day: bool) -> bool:
    """Return whether the person is taken: not by what they declined; by Outlook's own word where there is one, then
    TRANSP.

    A day-long entry (a birthday, a holiday, a fair) takes nobody's time unless it says OPAQUE, which Outlook always does.
    """
    if _declined(item):
        return False
    status = text_of(item.component, "X-MICROSOFT-CDO-BUSYSTATUS").upper()
    if status in ("FREE", "WORKINGELSEWHERE"):
        return False
    transparency = text_of(item.component, "TRANSP").upper()
    if all_day:
        return (transparency == "OPAQUE" and not item.all_day_mark) or status in ("BUSY", "OOF")
    return transparency != "TRANSPARENT"


def _declined(item: Read) -> bool:
    """Return whether the calendar's owner declined; who that is, is known where the calendar bears their address as
    its name."""
    owner = item.piece.calendar.properties.get("X-WR-CALNAME", "").strip().lower()
    if "@" not in owner:
        return False
    return any(
        line.lower().rpartition("mailto:")[2].strip() == owner and "PARTSTAT=DECLINED" in line.upper()
        for line in item.attendees
    )


def _event_time(component: Component, *, now: datetime, modified: datetime) -> Timestamp:
    for name in ("LAST-MODIFIED", "DTSTAMP"):
        value = first(component, name)
        if isinstance(value, datetime) and value.tzinfo is not None and value.year >= YEAR_MIN and value <= now:
            return _timestamp(value)
    return _timestamp(modified if modified.year >= YEAR_MIN else now)


def _timestamp(moment: datetime) -> Timestamp:
    seconds = moment.timestamp()
    return timestamp(int(min(max(seconds, 0), SECONDS_MAX) * 1000))

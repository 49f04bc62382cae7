"""Tasks and events as the files that they came from: lines of todo.txt, and a calendar. Pure; it writes no file itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from oo.v1.signal_pb2 import CalendarEventUpserted, TaskUpserted


def todo_txt(tasks: Iterable[tuple[TaskUpserted, bool]], *, zone: ZoneInfo) -> str:
    """One line a task, in the order given; each with whether it is done. `zone`: where the person lives.

    >>> todo_txt([(TaskUpserted(title="Call Mum", priority=1, labels=["phone"]), False)], zone=ZoneInfo("UTC"))
    '(A) Call Mum @phone\\n'
    """
    return "".join(f"{_line(task, done=done, zone=zone)}\n" for task, done in tasks)


def _line(task: TaskUpserted, *, done: bool, zone: ZoneInfo) -> str:
    words = ["x"] if done else [f"({chr(ord('A') + task.priority - 1)})"] if task.priority else []
    title = task.title.split()
    # What had + and what had @ before it is not known any more; both are labels.
    said = {word.lstrip("@+") for word in title}
    words += [*title, *(f"@{label.replace(' ', '_')}" for label in task.labels if label not in said)]
    if task.HasField("due"):
        due = task.due.ToDatetime(UTC).astimezone(zone)
        # A day is told as its last second.
        words.append(f"due:{due:%Y-%m-%d}" if (due.hour, due.minute) == (23, 59) else f"due:{due:%Y-%m-%dT%H:%M}")
    if task.estimated_minutes:
        words.append(f"est:{task.estimated_minutes}m")
    if task.url and task.url not in title:
        words.append(task.url)
    return " ".join(words)


def calendar(events: Iterable[CalendarEventUpserted], *, now: datetime) -> str:
    """An iCalendar file, every repetition an event of its own, as they were told.

    >>> event = CalendarEventUpserted(external_id="1", title="Talk")
    >>> "SUMMARY:Talk" in calendar([event], now=datetime(2026, 1, 1, tzinfo=UTC))
    True
    """
    whole = Calendar({"prodid": "-//oO//export//EN", "version": "2.0"})
    for told in events:
        event = Event()
        event.add("uid", told.external_id)
        event.add("dtstamp", now)
        event.add("summary", told.title)
        event.add("dtstart", told.start.ToDatetime(UTC))
        event.add("dtend", told.end.ToDatetime(UTC))
        if told.HasField("busy") and not told.busy:
            event.add("transp", "TRANSPARENT")
        whole.add_component(event)
    return str(whole.to_ical(), "utf-8")

"""What a VTODO says: a task, that it is done, or that it is gone.

It never expands a repeating task: applications write the occurrence that is open now as the task's own dates.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from icalendar import Component
from icalendar.prop import vDuration

from connectors.ical.value import first, instant, moment_id, text_of
from connectors.source_file import (
    LABEL_MAX,
    LABELS_MAX,
    MINUTES_MAX,
    NOTES_MAX,
    SECONDS_MAX,
    TITLE_MAX,
    URL_MAX,
    Problem,
    cut,
    external_id,
    many_lines,
    one_line,
    timestamp,
)
from oo.v1.signal_pb2 import TaskCompleted, TaskRemoved, TaskUpserted

_URL = re.compile(r"https?://\S+")


def task(
    component: Component, *, line: int, zone: ZoneInfo, cancelled: bool, problems: list[Problem]
) -> TaskUpserted | TaskCompleted | TaskRemoved | None:
    """What one VTODO says; None if it has no text. `zone` is that of days and floating times."""
    notes = many_lines(text_of(component, "DESCRIPTION"))
    title = one_line(text_of(component, "SUMMARY")) or one_line(notes.split("\n", 1)[0])
    task_id = _id(component, title=title, zone=zone)
    if cancelled:
        return TaskRemoved(external_id=task_id)
    if (
        text_of(component, "STATUS").upper() == "COMPLETED"
        or "COMPLETED" in component
        or text_of(component, "PERCENT-COMPLETE") == "100"
    ):
        return TaskCompleted(external_id=task_id)
    if not title:
        problems.append(Problem(line, "a task without a SUMMARY; left out", skipped=True))
        return None
    if len(title) > TITLE_MAX:
        problems.append(Problem(line, f"the SUMMARY has {len(title):,} characters; cut at {TITLE_MAX}"))
    if len(notes) > NOTES_MAX:
        problems.append(Problem(line, f"the DESCRIPTION has {len(notes):,} characters; cut at {NOTES_MAX}"))
    upserted = TaskUpserted(
        external_id=task_id,
        title=cut(title, TITLE_MAX),
        notes=cut(notes, NOTES_MAX),
        priority=_priority(text_of(component, "PRIORITY")),
        labels=_labels(component, line=line, problems=problems),
    )
    due = _due(component, zone=zone)
    if due is not None and 0 <= (seconds := int(due.timestamp())) <= SECONDS_MAX:
        upserted.due.CopyFrom(timestamp(seconds * 1000))
    upserted.estimated_minutes = _minutes(text_of(component, "ESTIMATED-DURATION"))
    url = text_of(component, "URL").strip()
    if _URL.fullmatch(url) and len(url) <= URL_MAX:
        upserted.url = url
    return upserted


def _id(component: Component, *, title: str, zone: ZoneInfo) -> str:
    uid = text_of(component, "UID").strip() or f"no-uid:{title}"
    instance = first(component, "RECURRENCE-ID")
    return external_id(f"{uid}/{moment_id(instance, zone=zone)}" if isinstance(instance, date) else uid)


def _priority(text: str) -> int:
    """The three levels of RFC 5545, 3.8.1.9: 1 to 4 high, 5 medium, 6 to 9 low; 0 is none.

    >>> [_priority(text) for text in ('0', '1', '5', '9', 'urgent')]
    [0, 1, 2, 3, 0]
    """
    value = int(text) if text.isascii() and text.isdigit() else 0
    return 0 if not 1 <= value <= 9 else 1 if value <= 4 else 2 if value == 5 else 3


def _minutes(text: str) -> int:
    """The library knows this property as text only.

    >>> _minutes('PT1H30M'), _minutes('soon')
    (90, 0)
    """
    try:
        length: timedelta = vDuration.from_ical(text) if text else timedelta(0)  # type: ignore[no-untyped-call]
    except ValueError:
        return 0
    return min(max(round(length.total_seconds() / 60), 0), MINUTES_MAX)


def _due(component: Component, *, zone: ZoneInfo) -> datetime | None:
    due, begins, lasts = (first(component, name) for name in ("DUE", "DTSTART", "DURATION"))
    if due is None and isinstance(begins, date) and isinstance(lasts, timedelta):
        due = begins + lasts
    if isinstance(due, datetime):
        return instant(due, zone=zone)
    # A day is over at its last second.
    return datetime.combine(due, time(23, 59, 59), tzinfo=zone) if isinstance(due, date) else None


def _labels(component: Component, *, line: int, problems: list[Problem]) -> list[str]:
    values = component.get("CATEGORIES", [])
    names: dict[str, None] = {}
    for value in values if isinstance(values, list) else [values]:
        for name in getattr(value, "cats", []):
            if label := cut(one_line(str(name)), LABEL_MAX):
                names[label] = None
    if len(names) > LABELS_MAX:
        problems.append(Problem(line, f"{len(names)} categories; the first {LABELS_MAX} taken"))
    return list(names)[:LABELS_MAX]

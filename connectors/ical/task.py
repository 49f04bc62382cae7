"""What a VTODO says: a task, that it is done, or that it is gone.

A repeating task is one task: the occurrence that is open now. It never makes a task of each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from icalendar import Component

from connectors.ical.component import Read
from connectors.ical.recurrence import Series
from connectors.ical.value import Length, first, instant, moment_id, text_of
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


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task whose start lies ahead."""


Said = TaskUpserted | TaskCompleted | TaskRemoved | Waiting | None

_URL = re.compile(r"https?://\S+")


def task(item: Read, *, now: datetime, problems: list[Problem]) -> Said:
    """Return what one VTODO says now; None if it has no text."""
    component, line = item.component, item.piece.line
    notes = many_lines(text_of(component, "DESCRIPTION"))
    title = one_line(text_of(component, "SUMMARY")) or one_line(notes.split("\n", 1)[0])
    task_id = _id(item, title=title)
    if item.cancelled:
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
    begins, due = _open_occurrence(item, now=now, problems=problems)
    ahead = begins is not None and instant(begins, zone=item.home if _is_day(begins) else item.zone) > now
    # Apple writes DTSTART equal to DUE: such a task is not held back.
    if begins and ahead and (due is None or _last_second(begins, item=item) < _last_second(due, item=item)):
        return Waiting()
    upserted = TaskUpserted(
        external_id=task_id,
        title=cut(title, TITLE_MAX),
        notes=cut(notes, NOTES_MAX),
        priority=_priority(text_of(component, "PRIORITY")),
        labels=_labels(component, line=line, problems=problems),
    )
    if due is not None and 0 <= (seconds := int(_last_second(due, item=item).timestamp())) <= SECONDS_MAX:
        upserted.due.CopyFrom(timestamp(seconds * 1000))
    upserted.estimated_minutes = _minutes(text_of(component, "ESTIMATED-DURATION"))
    url = text_of(component, "URL").strip()
    if _URL.fullmatch(url) and len(url) <= URL_MAX:
        upserted.url = url
    return upserted


def _id(item: Read, *, title: str) -> str:
    uid = text_of(item.component, "UID").strip() or f"no-uid:{title}"
    instance = first(item.component, "RECURRENCE-ID")
    zone = item.home if instance is not None and _is_day(instance) else item.zone
    return external_id(f"{uid}/{moment_id(instance, zone=zone)}" if instance is not None else uid)


def _priority(text: str) -> int:
    """Return the three levels of RFC 5545, 3.8.1.9: 1 to 4 high, 5 medium, 6 to 9 low; 0 is none.

    >>> [_priority(text) for text in ('0', '1', '5', '9', 'urgent')]
    [0, 1, 2, 3, 0]
    """
    value = int(text) if text.isascii() and text.isdigit() else 0
    return 0 if not 1 <= value <= 9 else 1 if value <= 4 else 2 if value == 5 else 3


def _minutes(text: str) -> int:
    """Return an estimate's minutes.

    >>> _minutes('PT1H30M'), _minutes('soon')
    (90, 0)
    """
    length = Length.parse(text)
    if length is None:
        return 0
    return min(max(length.days * 1440 + round(length.exact.total_seconds() / 60), 0), MINUTES_MAX)


def _open_occurrence(
    item: Read, *, now: datetime, problems: list[Problem]
) -> tuple[date | datetime | None, date | datetime | None]:
    """Begin and due date; of a task that repeats, those of the occurrence begun last, or of the first if none has."""
    begins, due = first(item.component, "DTSTART"), first(item.component, "DUE")
    if due is None and begins is not None and item.lasts is not None:
        due = item.lasts.after(begins)
    anchor = due if begins is None else begins
    if anchor is None or not item.rules:
        return begins, due
    try:
        series = Series.of(item, anchor)
        walls = series.starts(series.wall(anchor), series.wall(now.astimezone(series.zone)) + timedelta(days=400))
    # dateutil raises whatever a strange rule makes it trip over.
    except Exception as error:  # noqa: BLE001
        what = f"this task's rule cannot be followed ({cut(one_line(str(error)), 80)}); taken as it stands"
        problems.append(Problem(item.piece.line, what))
        return begins, due
    begun = [wall for wall in walls if instant(series.at(wall), zone=series.zone) <= now]
    if not walls:
        return begins, due
    moved = (max(begun) if begun else min(walls)) - series.wall(anchor)
    return (
        None if begins is None else series.at(series.wall(begins) + moved),
        None if due is None else due + moved,
    )


def _is_day(moment: date | datetime) -> bool:
    return not isinstance(moment, datetime)


def _last_second(moment: date | datetime, *, item: Read) -> datetime:
    """Return when it is over: a day at its last second, where the person lives."""
    if isinstance(moment, datetime):
        return instant(moment, zone=item.zone)
    return datetime.combine(moment, time(23, 59, 59), tzinfo=item.home)


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

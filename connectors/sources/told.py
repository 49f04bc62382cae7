"""What services say in JSON, read without trust: a value of another type than it should have counts as not said.

It never raises for one item: what makes an item unusable is a ValueError that its source makes a problem of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from google.protobuf.timestamp_pb2 import Timestamp

from connectors.source_file import (
    LABEL_MAX,
    LABELS_MAX,
    NOTES_MAX,
    SECONDS_MAX,
    TITLE_MAX,
    URL_MAX,
    Problem,
    cut,
    many_lines,
    one_line,
    timestamp,
)
from oo.v1.signal_pb2 import Signal, TaskUpserted

Said = Mapping[str, Any]


def word(said: Said, name: str) -> str:
    """Return a text, or a whole number as one; empty where there is none.

    >>> word({"id": 7}, "id"), word({"id": None}, "id"), word({}, "id")
    ('7', '', '')
    """
    value = said.get(name)
    return value if isinstance(value, str) else str(value) if type(value) is int else ""


def inner(said: Said, name: str) -> Said:
    """Return an object; an empty one where there is none."""
    value = said.get(name)
    return value if isinstance(value, dict) else {}


def several(said: Said, name: str) -> list[Any]:
    """Return a list; an empty one where there is none."""
    value = said.get(name)
    return value if isinstance(value, list) else []


def moment(text: str, *, zone: ZoneInfo) -> date | datetime:
    """Return a day, or an instant: one without a zone is in `zone`; raises ValueError.

    >>> moment("2026-11-30", zone=ZoneInfo("UTC")), moment("2026-11-30T09:00:00Z", zone=ZoneInfo("UTC")).hour
    (datetime.date(2026, 11, 30), 9)
    """
    if len(text) == 10:
        return date.fromisoformat(text)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=zone)


def zone_named(name: str, *, otherwise: ZoneInfo) -> ZoneInfo:
    """Return a zone by its IANA name; the other one where there is none of that name."""
    try:
        return ZoneInfo(name) if name else otherwise
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return otherwise


def last_second(when: date | datetime, *, zone: ZoneInfo) -> Timestamp:
    """Return the instant, or the last second of a day where the person lives; raises ValueError past what a message holds."""
    if not isinstance(when, datetime):
        when = datetime.combine(when, time(23, 59, 59), tzinfo=zone)
    return stamp(when)


def stamp(when: datetime) -> Timestamp:
    """Return an instant as a message has it; raises ValueError past what it holds."""
    seconds = int(when.timestamp())
    if not 0 <= seconds <= SECONDS_MAX:
        raise ValueError("a time out of bounds")
    return timestamp(seconds * 1000)


def event_time(text: str, *, now: datetime) -> Timestamp:
    """Return when something was last changed there; now where it does not say."""
    try:
        found = moment(text, zone=ZoneInfo("UTC"))
        return stamp(found if isinstance(found, datetime) else datetime.combine(found, time(), tzinfo=UTC))
    except (ValueError, OverflowError):
        return stamp(now)


def task(*, external_id: str, title: str, notes: str = "", labels: Iterable[str] = (), url: str = "") -> TaskUpserted:
    """Return a task within the door's bounds; raises ValueError where it has no title."""
    clean = one_line(title)
    if not clean or not external_id:
        raise ValueError("no title or id")
    bare = list(dict.fromkeys(cut(one_line(one), LABEL_MAX) for one in labels if one_line(one)))
    fits = url.startswith(("https://", "http://")) and len(url.encode()) <= URL_MAX and len(url.split()) == 1
    return TaskUpserted(
        external_id=external_id,
        title=cut(clean, TITLE_MAX),
        notes=cut(many_lines(notes), NOTES_MAX),
        labels=bare[:LABELS_MAX],
        url=url if fits else "",
    )


def each(
    items: Iterable[str], read: Callable[[Said], Signal | None], *, kind: str
) -> tuple[tuple[Signal, ...], tuple[Problem, ...]]:
    """Return what all items say (JSON objects), and a problem for each that cannot be read."""
    signals: list[Signal] = []
    problems: list[Problem] = []
    for text in items:
        try:
            signal = read(json.loads(text))
        except (ValueError, OverflowError) as error:
            problems.append(
                Problem(0, f"{kind} cannot be read ({cut(one_line(str(error)), 80)}); left out", skipped=True)
            )
            continue
        if signal is not None:
            signals.append(signal)
    return tuple(signals), tuple(problems)

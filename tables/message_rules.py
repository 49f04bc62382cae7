"""What a message from outside must keep so that a row can hold it: the one check of the door and of the edge.

It knows neither who sent a message nor what stands in a row, and changes nothing. It is no part of the pure core: protovalidate
compiles each message's rules at its first use and keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import protovalidate
from protovalidate import Violation

from oo.v1 import reaction_pb2, signal_pb2, subject_request_pb2
from streams.units import DAY_MS
from tables.zones import TZDATA_VERSION, zone

AHEAD_MS_MAX = DAY_MS
"""How far ahead of the clock an event may claim to be: time zones mixed up, not years."""
EVENT_MS_MIN = 946_684_800_000
"""2000-01-01: before it, a time is a mistake."""
_SECONDS = range(-62_135_596_800, 253_402_300_800)
"""What a due date or an event's start may be: years 1 to 9999. The wire allows more, which no row could hold."""


FromOutside = signal_pb2.Signal | reaction_pb2.Reaction | subject_request_pb2.SubjectRequest
"""What comes in through a door of its own topic."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a message breaks: a short fixed word (docs/bad-input.md), where, and what to mend, never the value."""

    reason: str
    path: tuple[str | int, ...]
    detail: str

    def __str__(self) -> str:
        """
        >>> str(Breach("invalid", ("task_upserted", "labels", 3), "is too long")), str(Breach("invalid", (), "is empty"))
        ('task_upserted.labels: is too long', 'message: is empty')
        """
        return f"{'.'.join(one for one in self.path if isinstance(one, str)) or 'message'}: {self.detail}"


def breaches(
    message: FromOutside,
    *,
    validator: protovalidate.Validator,
    event_time_ms: int,
    now_ms: int,
) -> list[Breach]:
    """All rules of the contract that the message breaks, else the first of the others; empty for a message to take."""
    violations = validator.collect_violations(message)
    if violations:
        return [Breach("invalid", _path(one), one.proto.message or one.proto.rule_id) for one in violations]
    return list(_others(message, event_time_ms=event_time_ms, now_ms=now_ms))[:1]


def _others(message: FromOutside, *, event_time_ms: int, now_ms: int) -> Iterator[Breach]:
    if event_time_ms > now_ms + AHEAD_MS_MAX:
        yield Breach("time-ahead", ("event_time",), "is more than 24 hours ahead of the clock here")
    if event_time_ms < EVENT_MS_MIN:
        yield Breach("time-behind", ("event_time",), "is before the year 2000")
    if isinstance(message, reaction_pb2.Reaction):
        yield from _times(message, (), ["snooze_until"])
        return
    if isinstance(message, subject_request_pb2.SubjectRequest):
        return
    match message.WhichOneof("payload"):
        case "profile_changed":
            try:
                zone(message.profile_changed.time_zone)
            except ValueError:
                detail = f"is not a name that tzdata {TZDATA_VERSION} has"
                yield Breach("unknown-time-zone", ("profile_changed", "time_zone"), detail)
        case "task_upserted" | "calendar_event_upserted" as name:
            item = getattr(message, name)
            if not item.title.strip():
                yield Breach("invalid", (name, "title"), "is blank")
            yield from _times(item, (name,), ["due"] if name == "task_upserted" else ["start", "end"])
        case _:
            pass


def _times(
    message: signal_pb2.TaskUpserted | signal_pb2.CalendarEventUpserted | reaction_pb2.Reaction,
    path: tuple[str, ...],
    names: Sequence[str],
) -> Iterator[Breach]:
    for name in names:
        time = getattr(message, name)
        if time.seconds not in _SECONDS or not 0 <= time.nanos < 1_000_000_000:
            yield Breach("invalid", (*path, name), "is not a time within the years 1 to 9999")


def _path(violation: Violation) -> tuple[str | int, ...]:
    path: tuple[str | int, ...] = ()
    for element in violation.proto.field.elements if violation.proto.field is not None else ():
        path = (*path, element.field_name)
        if element.subscript is not None and element.subscript.field == "index":
            path = (*path, int(element.subscript.value))
    return path

"""What the door lets in: one source record -> a journal record, or why not.

It never changes what a producer said, and neither sends nor waits. It is no part of the pure core: protovalidate compiles each
message's rules at its first use and keeps them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import protovalidate

from agents.step import STEP_VERSION
from oo.v1 import journal_pb2, reaction_pb2, signal_pb2
from streams.dead_letters import REDRIVEN
from streams.record import Record
from streams.units import DAY_MS
from tables import ids
from tables.backlog import to_ms
from tables.zones import TZDATA_VERSION, zone

WRITER = "admit/1"

AHEAD_MS_MAX = DAY_MS
"""How far ahead of the door's clock an event may claim to be: time zones mixed up, not years."""
EVENT_MS_MIN = 946_684_800_000
"""2000-01-01: before it, a time is a mistake."""
_SECONDS = range(-62_135_596_800, 253_402_300_800)
"""What a due date or an event's start may be: years 1 to 9999. The wire allows more, which no row could hold."""


class Refused(Exception):
    """The record is not let in: a short fixed word, and a sentence that says what to mend."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Door:
    """The rules of admission."""

    validator: protovalidate.Validator
    mac_key: bytes

    def admit(
        self,
        message: signal_pb2.Signal | reaction_pb2.Reaction,
        record: Record,
        *,
        topic_id: bytes,
        now_ms: int,
    ) -> journal_pb2.JournalRecord:
        """The journal record of a message that keeps the rules; raises Refused."""
        violations = self.validator.collect_violations(message)
        if violations:
            raise Refused("invalid", _say(violations))
        event_time_ms = _event_time_ms(message, record)
        if event_time_ms > now_ms + AHEAD_MS_MAX:
            raise Refused("time-ahead", "event_time is more than 24 hours ahead of the door's clock")
        if event_time_ms < EVENT_MS_MIN:
            raise Refused("time-behind", "event_time is before the year 2000")
        if isinstance(message, signal_pb2.Signal):
            _check_signal(message)
        else:
            _check_time(message, "snooze_until")
            if not ids.belongs(message.decision_id, user_id=message.user_id, mac_key=self.mac_key):
                raise Refused("unknown-decision", "decision_id was not made for this user")
        journal = journal_pb2.JournalRecord(
            record_id=ids.source_record_id(topic_id, partition=record.partition, offset=record.offset),
            source=journal_pb2.Position(topic_id=topic_id, partition=record.partition, offset=record.offset),
            source_time_ms=record.timestamp_ms,
            writer=WRITER,
            step_version=STEP_VERSION,
            event_key=_event_key(message, record),
            event_time_ms=event_time_ms,
        )
        if isinstance(message, signal_pb2.Signal):
            journal.signal.CopyFrom(message)
        else:
            journal.reaction.CopyFrom(message)
        return journal


def _check_signal(signal: signal_pb2.Signal) -> None:
    if signal.WhichOneof("payload") == "profile_changed":
        try:
            zone(signal.profile_changed.time_zone)
        except ValueError as error:
            detail = f"profile_changed.time_zone is not a name that tzdata {TZDATA_VERSION} has"
            raise Refused("unknown-time-zone", detail) from error
    if signal.WhichOneof("payload") == "task_upserted" and not signal.task_upserted.title.strip():
        raise Refused("invalid", "task_upserted.title is blank")
    if signal.WhichOneof("payload") == "calendar_event_upserted" and not signal.calendar_event_upserted.title.strip():
        raise Refused("invalid", "calendar_event_upserted.title is blank")
    _check_time(signal.task_upserted, "due")
    _check_time(signal.calendar_event_upserted, "start")
    _check_time(signal.calendar_event_upserted, "end")


def _check_time(
    message: signal_pb2.TaskUpserted | signal_pb2.CalendarEventUpserted | reaction_pb2.Reaction, name: str
) -> None:
    time = getattr(message, name)
    if time.seconds not in _SECONDS or not 0 <= time.nanos < 1_000_000_000:
        raise Refused("invalid", f"{name} is not a time within the years 1 to 9999")


def _event_time_ms(message: signal_pb2.Signal | reaction_pb2.Reaction, record: Record) -> int:
    """The message's own time, else CloudEvents' `ce_time`, else the Kafka record's."""
    if message.HasField("event_time"):
        return to_ms(message.event_time)
    ce_time = _header(record.headers, "ce_time")
    if ce_time:
        stamp = signal_pb2.Signal().event_time
        try:
            stamp.FromJsonString(ce_time)
        except (ValueError, OverflowError) as error:  # 1e999 is a fraction of a second to its parser
            raise Refused("invalid", "header ce_time is not an RFC 3339 time") from error
        return to_ms(stamp)
    return record.timestamp_ms


def _event_key(message: signal_pb2.Signal | reaction_pb2.Reaction, record: Record) -> int:
    """CloudEvents' (ce_source, ce_id), else (source, event_id), else the letter that it was redriven from, else 0: then
    only its position names the event."""
    ce_id = _header(record.headers, "ce_id")
    if ce_id:
        return ids.event_key(f"ce:{_header(record.headers, 'ce_source')}", ce_id)
    if message.event_id:
        # A signal and a reaction of the same id are two events.
        return ids.event_key(f"{type(message).__name__}:{message.source}", message.event_id)
    redriven = _header(record.headers, REDRIVEN)
    # Sent again by an operator: the same letter twice is one event.
    return ids.event_key("redriven", redriven) if redriven else 0


def _header(headers: Sequence[tuple[str, bytes | None]], name: str) -> str:
    value = next((value for key, value in headers if key.lower() == name), None)
    if not value:
        return ""
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        # Not replaced: two ids would be taken for one, and the second event for a copy.
        raise Refused("invalid", f"header {name} is not UTF-8") from error
    if any(unicodedata.category(char) == "Cc" for char in text):
        raise Refused("invalid", f"header {name} holds control characters")
    return text


def _say(violations: Sequence[protovalidate.Violation]) -> str:
    """What is wrong, by field; never the field's value, which is a person's text."""
    parts = []
    for violation in violations[:3]:
        proto = violation.proto
        path = ".".join(element.field_name for element in proto.field.elements) if proto.field else ""
        parts.append(f"{path or 'message'}: {proto.message or proto.rule_id}")
    return "; ".join(parts)

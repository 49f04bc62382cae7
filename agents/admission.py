"""What the door lets in: one source record -> a journal record, or why not.

It never changes what a producer said, and neither sends nor waits. What a message may hold is `tables.message_rules`' word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import protovalidate

from agents.erasure import answers
from agents.step import STEP_VERSION
from oo.v1 import erased_pb2, journal_pb2, reaction_pb2, signal_pb2, subject_request_pb2
from streams.dead_letters import REDRIVEN
from streams.record import Record
from streams.sealing import stays_open
from tables import ids
from tables.backlog import to_ms
from tables.message_rules import FromOutside, breaches

WRITER = "admit/1"


class Refused(Exception):
    """The record is not let in: a short fixed word, and a sentence that says what to mend."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def comes_back(message: FromOutside, word: erased_pb2.Erased) -> bool:
    """Whether somebody who left may say this: that they begin again, or once more that they leave."""
    if not isinstance(message, subject_request_pb2.SubjectRequest):
        return False
    return message.HasField("erasure") or answers(message, word.receipt)


@dataclass(frozen=True, slots=True)
class Door:
    """The rules of admission."""

    validator: protovalidate.Validator
    mac_key: bytes

    def admit(
        self,
        message: FromOutside,
        record: Record,
        *,
        pseudonym: str,
        topic_id: bytes,
        now_ms: int,
    ) -> journal_pb2.JournalRecord:
        """The journal record of a message that keeps the rules; raises Refused. `pseudonym`: of who it is about."""
        event_time_ms = _event_time_ms(message, record)
        found = breaches(message, validator=self.validator, event_time_ms=event_time_ms, now_ms=now_ms)
        if found:
            raise Refused(found[0].reason, "; ".join(map(str, found[:3])))
        if isinstance(message, reaction_pb2.Reaction) and not ids.belongs(
            message.decision_id, user_id=pseudonym, mac_key=self.mac_key
        ):
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
        elif isinstance(message, subject_request_pb2.SubjectRequest):
            journal.subject_request.CopyFrom(message)
            if stays_open(journal):
                # Nothing seals it, and a name beside its pseudonym would tell whose all the others were.
                journal.subject_request.user_id = pseudonym
        else:
            journal.reaction.CopyFrom(message)
        return journal


def _event_time_ms(message: FromOutside, record: Record) -> int:
    """The message's own time, else CloudEvents' `ce_time`, else the Kafka record's."""
    if isinstance(message, subject_request_pb2.SubjectRequest):
        return record.timestamp_ms
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


def _event_key(message: FromOutside, record: Record) -> int:
    """CloudEvents' (ce_source, ce_id), else (source, event_id), else the letter that it was redriven from, else 0: then
    only its position names the event."""
    if isinstance(message, subject_request_pb2.SubjectRequest):
        return ids.event_key("SubjectRequest", message.request_id)
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

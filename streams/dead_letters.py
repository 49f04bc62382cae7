"""What is kept of a record that was refused: where it stood, why, and its bytes. Pure.

It never sends anything: the agent that refuses a record produces the letter, and has it acknowledged, before it commits.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from oo.v1.dead_letter_pb2 import DeadLetter
from oo.v1.journal_pb2 import JournalRecord
from streams.frames import Frames
from streams.record import Record
from streams.topics import ENTRANCES
from streams.wire import BadFrame

ORIGINAL_BYTES_MAX: Final = 512 * 1024
"""Of a refused value; past it the value is cut, and its hash and length tell the whole."""
KEY_BYTES_MAX: Final = 16 * 1024
HEADERS_BYTES_MAX: Final = 64 * 1024
"""Of all headers together, names included; those past it are left out."""
HEADERS_MAX: Final = 128
DETAIL_LENGTH_MAX: Final = 500
REDRIVEN: Final = "oo_redriven"
"""Header of a record that is sent again: the letter it comes from. It names the event where the producer did not."""
SAID_ON: Final = "oo_topic"
"""Header in the letter of a record that was refused behind the door: the short name of the topic on which a producer said it."""
SAID_AT: Final = "oo_source"
"""Likewise: its place on that topic, as `named` spells it."""


def dead_letter(record: Record, *, topic_id: bytes, reason: str, detail: str, refused_ms: int) -> DeadLetter:
    """Build the letter for one refused record: it cannot fail, whatever the record holds. With every bound at its greatest it stays far under its topic's 4 MiB.

    `reason` is a short fixed word of docs/bad-input.md, `detail` a sentence that says what to mend.
    """
    value = record.value or b""
    letter = DeadLetter(
        topic=record.topic,
        topic_id=topic_id,
        partition=record.partition,
        offset=record.offset,
        reason=reason,
        detail=_storable(detail[:DETAIL_LENGTH_MAX]),
        original=value[:ORIGINAL_BYTES_MAX],
        original_key=(record.key or b"")[:KEY_BYTES_MAX],
        original_length=len(value),
        original_sha256=hashlib.sha256(value).digest(),
        original_time_ms=record.timestamp_ms,
        refused_ms=refused_ms,
    )
    room = HEADERS_BYTES_MAX
    for stated_name, stated in record.headers:
        name = _storable(stated_name)
        content = stated or b""  # Kafka lets a header have no value.
        room -= len(name.encode()) + len(content)
        if room < 0 or len(letter.original_headers) == HEADERS_MAX:
            break
        letter.original_headers.add(key=name, value=content)
    return letter


def bare_letter(record: Record, *, topic_id: bytes, reason: str, detail: str, refused_ms: int) -> DeadLetter:
    """Build the letter of somebody of whom nothing may be kept: where it stood and why, and nothing of what it held."""
    return DeadLetter(
        topic=record.topic,
        topic_id=topic_id,
        partition=record.partition,
        offset=record.offset,
        reason=reason,
        detail=detail,
        refused_ms=refused_ms,
    )


def named(topic_id: bytes, *, partition: int, offset: int) -> str:
    """Spell a record's place, so that a topic made anew has other ones.

    >>> named(b"T" * 4, partition=2, offset=7)
    '54545454/2/7'
    """
    return f"{topic_id.hex()}/{partition}/{offset}"


def user_named(value: bytes, frames: Frames) -> str:
    """The user id that a refused value says, as far as it can be read; empty where it says none.

    >>> user_named(b'{"data": {"userId": "ada"}}', Frames()), user_named(b"\\xff junk", Frames())
    ('ada', '')
    """
    for topic in (*ENTRANCES.values(), "journal"):
        try:
            message = frames.unframe(topic, value)
        except BadFrame:
            continue
        if isinstance(message, JournalRecord):
            message = getattr(message, message.WhichOneof("payload") or "tick")
        if said := str(getattr(message, "user_id", "")):
            return said
    try:
        body = json.loads(value)
    except (ValueError, RecursionError):
        return ""
    # A CloudEvent in structured mode has it one deeper; protobuf's JSON spells a name in two ways.
    inner = body.get("data") if isinstance(body, dict) else None
    bodies = [one for one in (body, inner) if isinstance(one, dict)]
    found = [one[name] for one in bodies for name in ("user_id", "userId") if isinstance(one.get(name), str)]
    return _storable(found[0]) if found else ""


def _storable(text: str) -> str:
    """Spell out what no protobuf text may hold: half of a surrogate pair, which JSON can name.

    >>> _storable("half " + chr(0xD800)) == "half " + chr(92) + "ud800"
    True
    """
    return text.encode("utf-8", "backslashreplace").decode()

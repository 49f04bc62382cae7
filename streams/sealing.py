"""Seals each message of a person whole, with a key of that person's own, and opens it: deterministic, so that a replay gives the same bytes.

Pure over keys: it makes none, and knows neither where they stand nor who may have them. It never opens for a person what was
sealed for another one, or as another kind of message. What has no seal was written before there were any, and is read as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.message import Message

from oo.v1.dead_letter_pb2 import DeadLetter
from oo.v1.decision_pb2 import CandidateRequest, Decision, Delivery, Tip
from oo.v1.device_pb2 import Device
from oo.v1.evaluation_pb2 import ShadowDecision
from oo.v1.journal_pb2 import JournalRecord
from oo.v1.outcome_pb2 import Outcome
from oo.v1.policy_pb2 import PartitionSums
from oo.v1.row_pb2 import UserRow
from oo.v1.settings_pb2 import Settings
from oo.v1.shadow_candidates_pb2 import ShadowCandidates
from streams.frames import Frames
from streams.wire import BadFrame, varint

T = TypeVar("T", bound=Message)

_WHERE = "where it stands: compared without a key, and an erasure goes by it"

_REFUSED = "where the record stood: it is listed, and sent again, by that"

OPEN: Final[dict[type[Message], dict[str, str]]] = {
    JournalRecord: {},
    UserRow: {
        "journal_offset": "which of two rows stands: compaction, recovery and disks compare by it",
        "next_wake_ms": "when the row asks to be looked at: timers are set without opening it",
        "topic_id": "of which journal it is",
    },
    Tip: {
        "journal": "which of two tips stands: publish and Valkey compare by it, and have no key",
        "decision_id": "Valkey compares it with what had its feedback; made under a secret",
        "decided_ms": "which of two tips of two journals stands",
        "valid_until_ms": "until when it may be served",
    },
    Decision: {"journal": _WHERE},
    Outcome: {"journal": _WHERE},
    CandidateRequest: {"journal": f"{_WHERE}, and an answer to it is looked for from there on"},
    ShadowCandidates: {"journal": _WHERE},
    Delivery: {"journal": f"{_WHERE}, and the greatest stands"},
    Settings: {
        "journal": "which of two stands: publish and Valkey compare by it, and have no key",
        "told_ms": "which of two of two journals stands",
    },
    ShadowDecision: {"journal": f"{_WHERE}, and shadow goes on from it"},
    DeadLetter: {
        "topic": _REFUSED,
        "topic_id": _REFUSED,
        "partition": _REFUSED,
        "offset": _REFUSED,
        "reason": "why, in a fixed word",
        "detail": "why, in our own words, which quote nothing",
        "refused_ms": "when",
        "whose": "under whose key it is sealed: a person's, or the door's of that day",
    },
    PartitionSums: {"whose": "under the key of which day it is sealed"},
    Device: {},
}
"""What is sealed, and which of its fields stand open beside the seal, each with the reason. All else is inside; so is a copy of
these, but of a row's: what is opened is what was sealed, whatever stands outside."""

_NAMES: Final = {kind: kind.DESCRIPTOR.full_name.encode() for kind in OPEN}
"""What a seal is tied to, beside whose it is: no kind of message is opened as another."""

KEY_ID_BYTES: Final = 8
"""Before the sealed bytes, so that any of a person's keys opens."""

_ROW_FRONT: Final = 36
"""A row's open fields, always written, in this order (tables/row.py)."""
_ROW_TAG: Final = b"\xe2\x03"
"""Of UserRow.sealed, field 60."""


def stays_open(message: Message) -> bool:
    """Whether it has to be read once its person's keys are gone, and says nothing but that they leave or come back.

    >>> leaving = JournalRecord()
    >>> leaving.subject_request.erasure.SetInParent()
    >>> stays_open(leaving), stays_open(JournalRecord()), stays_open(Tip(decision_id="d")), stays_open(Tip())
    (True, False, False, True)
    """
    stays = _STAYS_OPEN.get(type(message))
    return type(message) not in OPEN if stays is None else stays(message)


def _journal_stays_open(record: JournalRecord) -> bool:
    if record.WhichOneof("payload") != "subject_request":
        return False
    changed = record.subject_request.consent_changed
    return record.subject_request.HasField("erasure") or (changed.granted and bool(changed.knows_of))


_STAYS_OPEN: Final[dict[type[Message], Callable[[Any], bool]]] = {
    JournalRecord: _journal_stays_open,
    # Silence has an end.
    Tip: lambda tip: not (tip.decision_id or tip.valid_until_ms),
    # Of who left nothing is told but from where on.
    Settings: lambda told: not (told.time_zone or told.HasField("profile") or told.consents),
    # One that withdraws: generate reads it where the keys are gone.
    CandidateRequest: lambda request: not request.HasField("ask"),
    Delivery: lambda delivery: not delivery.HasField("tip"),
    # Nothing of the record is in it.
    DeadLetter: lambda letter: not letter.whose,
    UserRow: lambda row: row.HasField("left") and not row.left.began_again,
}


class NotOpened(BadFrame):
    """Sealed for another person, as another message, with another front, or changed since: it says nothing."""

    def __init__(self, kind: type[Message]) -> None:
        super().__init__(
            "not-opened", f"this {kind.DESCRIPTOR.full_name} was not sealed for this person and place, or was changed"
        )


class KeyMissing(Exception):
    """A person's key is not there. Whoever folds has to stop: without it their row would come out otherwise."""

    def __init__(self, why: str, *, key_id: bytes = b"") -> None:
        """`key_id`: of one whose word may be on its way."""
        super().__init__(why)
        self.key_id = key_id


class Cipher(Protocol):
    """One key. `about`: what a seal is tied to."""

    def seal(self, data: bytes, about: list[bytes]) -> bytes:
        """The same every time."""

    def open(self, sealed: bytes, about: list[bytes]) -> bytes | None:
        """None for what this key did not seal about this."""


class Keys(Protocol):
    """Everybody's keys. `whose`: the Kafka key of the person's records."""

    def sealing(self, whose: bytes) -> tuple[bytes, Cipher]:
        """The key that seals now, with its id. Raises KeyMissing."""

    def opening(self, whose: bytes, key_id: bytes) -> Cipher:
        """The person's key of this id. Raises KeyMissing."""


class _NoKeys:
    """Nobody has one."""

    def sealing(self, whose: bytes) -> tuple[bytes, Cipher]:
        return b"", self.opening(whose, b"")

    def opening(self, whose: bytes, key_id: bytes) -> Cipher:
        raise KeyMissing("what is sealed was met where nothing is said to be: this is a fault of oO's own")


NO_KEYS: Final[Keys] = _NoKeys()
"""For logs in which nothing is sealed."""


def seal(message: T, *, whose: bytes, keys: Keys) -> T:
    """The same kind of message with nothing but its open fields, and the whole of it sealed."""
    kind = type(message)
    key_id, cipher = keys.sealing(whose)
    inside = cipher.seal(message.SerializeToString(deterministic=True), [_NAMES[kind], whose])
    return kind(sealed=key_id + inside, **{name: getattr(message, name) for name in OPEN[kind]})


def opened(message: T, *, whose: bytes, keys: Keys) -> T:
    """What was sealed; the message itself where it has no seal. Raises NotOpened and KeyMissing."""
    kind = type(message)
    sealed: bytes = message.sealed if kind in OPEN else b""  # type: ignore[attr-defined]
    if not sealed:
        return message
    if kind is UserRow:
        return kind.FromString(open_row(message.SerializeToString(deterministic=True), whose=whose, keys=keys))
    return kind.FromString(_open(kind, sealed, [_NAMES[kind], whose], whose, keys))


def seal_row(row: bytes, *, whose: bytes, keys: Keys) -> bytes:
    """A serialized UserRow sealed behind its front, to which the seal is tied; nothing is parsed."""
    front = row[:_ROW_FRONT]
    key_id, cipher = keys.sealing(whose)
    inside = key_id + cipher.seal(row[_ROW_FRONT:], [_NAMES[UserRow], whose, front])
    return front + _ROW_TAG + varint(len(inside)) + inside


def open_row(row: bytes, *, whose: bytes, keys: Keys) -> bytes:
    """The serialized UserRow that was sealed; the same bytes where it is not. Raises NotOpened and KeyMissing."""
    if row[_ROW_FRONT : _ROW_FRONT + len(_ROW_TAG)] != _ROW_TAG:
        return row
    sealed, front = UserRow.FromString(row).sealed, row[:_ROW_FRONT]
    return front + _open(UserRow, sealed, [_NAMES[UserRow], whose, front], whose, keys)


class Sealing:
    """Frames and unframes what is sealed: as `Frames`, told whose it is."""

    def __init__(self, frames: Frames, keys: Keys) -> None:
        self.keys = keys
        self.frames = frames

    def frame(self, name: str, message: Message, *, whose: bytes) -> bytes:
        """The value for a record of this person on this topic."""
        if not stays_open(message):
            message = seal(message, whose=whose, keys=self.keys)
        return self.frames.frame(name, message)

    def unframe(self, name: str, value: bytes | None, *, whose: bytes) -> Message:
        """The message in a framed value; raises BadFrame, NotOpened among them, and KeyMissing."""
        return opened(self.frames.unframe(name, value), whose=whose, keys=self.keys)


def _open(kind: type[Message], sealed: bytes, about: list[bytes], whose: bytes, keys: Keys) -> bytes:
    if len(sealed) <= KEY_ID_BYTES:
        raise NotOpened(kind)
    inside = keys.opening(whose, sealed[:KEY_ID_BYTES]).open(sealed[KEY_ID_BYTES:], about)
    if inside is None:
        raise NotOpened(kind)
    return inside

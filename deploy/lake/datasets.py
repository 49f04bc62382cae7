"""What the lake has: three data sets, the columns of each, and of which record which row is made. It reads and writes nothing.

What may be in a file is decided here alone. `coarse`, the default, has numbers, kinds and times by pseudonym, and no string of a
message but those in KEPT; `sealed` has each message as it stands in Kafka, for nobody to read without the person's key; `open` has
every field.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from google.protobuf.message import Message

from deploy.lake import schema
from deploy.lake.schema import Column, Row
from oo.v1.decision_pb2 import Decision
from oo.v1.journal_pb2 import JournalRecord
from oo.v1.outcome_pb2 import Outcome
from streams.record import Record
from tables import slates


class People(StrEnum):
    """What files say of people."""

    COARSE = "coarse"
    SEALED = "sealed"
    OPEN = "open"


FRONT: Final = (
    Column("person", "string"),
    Column("kafka_partition", "int"),
    Column("kafka_offset", "long"),
    Column("logged_at", "time"),
    Column("journal_offset", "long"),
)
"""Before a message's own columns: the pseudonym, where and when its record stands in Kafka, and the journal's record that it is of."""
SEALED: Final = (*FRONT, Column("message", "bytes"))


@dataclass(frozen=True, slots=True)
class Dataset:
    """One of them."""

    name: str
    topic: str
    """Its short name."""
    kind: type[Message]
    without: dict[str, str]
    """Paths of fields that no file has, each with the reason."""
    kept: dict[str, str]
    """Strings and bytes that are nobody's words, each with the reason: `coarse` has no others."""
    cut: tuple[str, ...] = ()
    """Numbers that are hashes of somebody's words without a secret: `coarse` has none."""

    def columns(self, people: People) -> tuple[Column, ...]:
        """Those of its files."""
        if people is People.SEALED:
            return SEALED
        mine = schema.columns_of(self.kind.DESCRIPTOR, without=self.without)
        return (*FRONT, *(schema.coarse(mine, kept=self.kept, cut=self.cut) if people is People.COARSE else mine))

    def rows(self, people: People) -> Callable[[Record, Message, int], Row]:
        """What makes the row of a record, its message (as it stands in Kafka for `sealed`, else opened) and the journal's offset."""
        if people is People.SEALED:
            return lambda record, message, at: {
                **_front(record, at),
                "message": message.SerializeToString(deterministic=True),
            }
        read = schema.reader_of(self.columns(people)[len(FRONT) :])
        return lambda record, message, at: {**_front(record, at), **read(_spelled_out(message))}


def _front(record: Record, journal_offset: int) -> Row:
    return {
        "person": (record.key or b"").decode(),
        "kafka_partition": record.partition,
        "kafka_offset": record.offset,
        "logged_at": schema.time_of(record.timestamp_ms),
        "journal_offset": journal_offset,
    }


def _spelled_out(message: Message) -> Message:
    """A decision with its candidates one by one, which are packed in the log."""
    if not isinstance(message, Decision) or not message.HasField("packed"):
        return message
    found = Decision()
    found.CopyFrom(message)
    found.slate.extend(slates.spelled_out(message))
    found.ClearField("packed")
    return found


_SEAL = "the whole message once more, sealed"
_MADE = "made under a secret, or by oO, of no word of a person"
_NOT = "not a signal: records that have it are in no file"

DECISIONS: Final = Dataset(
    "decisions",
    "decisions",
    Decision,
    without={"packed": "what `slate` spells out", "sealed": _SEAL},
    kept={
        **dict.fromkeys(("decision_id", "supersedes", "journal.topic_id"), _MADE),
        **dict.fromkeys(("policy", "policy_version", "config_hash", "tzdata_version"), "names of ours"),
        **dict.fromkeys(
            ("prompt_version", "model", "scored_by", "slate.prompt_version", "slate.model"), "names of ours"
        ),
        "slate.ineligible": "fixed words",
    },
)
OUTCOMES: Final = Dataset(
    "outcomes",
    "outcomes",
    Outcome,
    without={"sealed": _SEAL},
    kept=dict.fromkeys(("outcome_id", "decision_id", "journal.topic_id"), _MADE),
)
SIGNALS: Final = Dataset(
    "signals",
    "journal",
    JournalRecord,
    without={
        "sealed": _SEAL,
        **{
            one.name: _NOT
            for one in JournalRecord.DESCRIPTOR.oneofs_by_name["payload"].fields
            if one.name not in ("signal", "sealed")
        },
    },
    kept={"source.topic_id": _MADE, "writer": "names of ours"},
    cut=("event_key",),
)
DATASETS: Final = (DECISIONS, OUTCOMES, SIGNALS)

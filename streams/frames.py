"""Values on the topics: a protobuf message behind Confluent's header. Pure: it asks no registry.

It never checks a message's rules (that is the door's work) and never reads or writes a topic.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

from oo.v1 import (
    audit_pb2,
    dead_letter_pb2,
    decision_pb2,
    erased_pb2,
    evaluation_pb2,
    journal_pb2,
    key_pb2,
    model_budget_pb2,
    outcome_pb2,
    policy_pb2,
    reaction_pb2,
    row_pb2,
    settings_pb2,
    shadow_candidates_pb2,
    signal_pb2,
    subject_request_pb2,
)
from streams.wire import BadFrame, header, parse, read_header

MESSAGES: Final[dict[str, tuple[type[Message], ...]]] = {
    "signals": (signal_pb2.Signal,),
    "reactions": (reaction_pb2.Reaction,),
    "subject-requests": (subject_request_pb2.SubjectRequest,),
    "journal": (journal_pb2.JournalRecord,),
    "set-aside": (journal_pb2.SetAside,),
    "erasures": (erased_pb2.Erased,),
    "keys": (key_pb2.WrappedKey,),
    # Both stand in row.proto, so under one schema; the message index in each frame tells them apart.
    "rows": (row_pb2.UserRow, row_pb2.PartitionRow),
    "decisions": (decision_pb2.Decision,),
    "outcomes": (outcome_pb2.Outcome,),
    "tips": (decision_pb2.Tip,),
    "settings": (settings_pb2.Settings,),
    "policy-sums": (policy_pb2.PartitionSums,),
    "policies": (policy_pb2.PolicyVersion,),
    "shadows": (evaluation_pb2.ShadowDecision,),
    "estimates": (evaluation_pb2.Estimate,),
    "promotions": (evaluation_pb2.Promotion,),
    "candidate-requests": (decision_pb2.CandidateRequest,),
    "shadow-candidates": (shadow_candidates_pb2.ShadowCandidates,),
    "model-budget": (model_budget_pb2.ModelBudget,),
    "deliveries": (decision_pb2.Delivery,),
    "dead-letters": (dead_letter_pb2.DeadLetter,),
    "audit": (audit_pb2.AuditEntry,),
}
"""What may stand on each topic, by its short name; the first is the one that streams/topics.py names."""


class Frames:
    """Frames and unframes every topic's values without a registry: for those who read what stands in the log, and for tests.

    Topics are given by their short names. Frames carry made-up ids, and a frame is read whatever its id, by its message
    index; streams/schemas.py knows the ids.

    >>> frames = Frames()
    >>> frames.unframe("tips", frames.frame("tips", decision_pb2.Tip(title="Rest"))).title
    'Rest'
    """

    def __init__(self) -> None:
        self._kinds = {(name, index_of(kind)): kind for name, kinds in MESSAGES.items() for kind in kinds}
        files = sorted({kind.DESCRIPTOR.file.name for kinds in MESSAGES.values() for kind in kinds})
        self._headers: dict[tuple[str, type[Message]], bytes] = {
            (name, kind): header(1 + files.index(kind.DESCRIPTOR.file.name), index_of(kind))
            for name, kinds in MESSAGES.items()
            for kind in kinds
        }

    def frame(self, name: str, message: Message) -> bytes:
        """The value for a record on this topic. The same message gives the same bytes."""
        return self._headers[name, type(message)] + message.SerializeToString(deterministic=True)

    def header(self, name: str, kind: type[Message]) -> bytes:
        """What stands before each serialized message of this kind on this topic."""
        return self._headers[name, kind]

    def unframe(self, name: str, value: bytes | None) -> Message:
        """The message in a framed value; raises BadFrame."""
        if not value:
            raise BadFrame("no-frame", "the value is empty")
        schema_id, path, length = read_header(value)
        kind = self._kind(name, schema_id, path[0]) if len(path) == 1 and path[0] >= 0 else None
        if kind is None:
            raise self._not_read(name, schema_id, path)
        return parse(kind, value[length:])

    def _kind(self, name: str, schema_id: int, index: int) -> type[Message] | None:
        """What stands behind this header on this topic; None where it is nothing that belongs there."""
        del schema_id  # of whoever wrote it
        return self._kinds.get((name, index))

    def _not_read(self, name: str, schema_id: int, path: tuple[int, ...]) -> BadFrame:
        """Why a value with this header is not read."""
        return BadFrame("wrong-schema", f"message {list(path)} of schema id {schema_id} is not {expected(name)}")


def expected(name: str) -> str:
    """What may stand on a topic, in words.

    >>> expected("rows")
    'oo.v1.UserRow or oo.v1.PartitionRow'
    """
    return " or ".join(kind.DESCRIPTOR.full_name for kind in MESSAGES[name])


def index_of(kind: type[Message]) -> int:
    """The place of a top-level message in its file."""
    return list(kind.DESCRIPTOR.file.message_types_by_name).index(kind.DESCRIPTOR.name)

"""The HTTP models say the same as the contract."""

from __future__ import annotations

from oo.v1 import decision_pb2, reaction_pb2
from serving.schemas import FeedbackBody, ReactionKind, TipBody, tip_json

TIMES = {"decided_at": "decided_ms", "valid_until": "valid_until_ms"}
"""Whole milliseconds in the contract, ISO 8601 over HTTP."""
INTERNAL = {"user_id", "journal", "external_id", "sealed"}


def test_a_tip_over_http_has_the_contracts_fields() -> None:
    fields = {field.name for field in decision_pb2.Tip.DESCRIPTOR.fields} - INTERNAL
    assert {TIMES.get(name, name) for name in TipBody.model_fields} == fields


def test_what_is_answered_is_what_is_documented() -> None:
    tip = decision_pb2.Tip(
        decision_id="d", kind=decision_pb2.Decision.STARTER, title="t", decided_ms=1, valid_until_ms=2
    )
    assert TipBody.model_validate(tip_json(tip)).kind == "starter"
    assert tip_json(tip).keys() == TipBody.model_fields.keys()


def test_every_reaction_of_the_contract_can_be_given() -> None:
    contract = set(reaction_pb2.Reaction.Kind.values()) - {reaction_pb2.Reaction.KIND_UNSPECIFIED}
    assert {kind.number for kind in ReactionKind} == contract


def test_feedback_has_the_contracts_names() -> None:
    names = {field.name for field in reaction_pb2.Reaction.DESCRIPTOR.fields}
    assert FeedbackBody.model_fields.keys() - names == {"reaction"}

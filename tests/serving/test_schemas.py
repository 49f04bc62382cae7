"""The HTTP models say the same as the contract."""

from __future__ import annotations

from oo.v1 import decision_pb2, reaction_pb2
from serving.schemas import DismissReason, FeedbackBody, ReactionKind, TipBody, tip_json

TIMES = {"decided_at": "decided_ms", "valid_until": "valid_until_ms"}
"""Whole milliseconds in the contract, ISO 8601 over HTTP."""
INTERNAL = {"user_id", "journal", "external_id", "sealed"}


def test_a_tip_over_http_has_the_contracts_fields() -> None:
    fields = {field.name for field in decision_pb2.Tip.DESCRIPTOR.fields} - INTERNAL
    assert {TIMES.get(name, name) for name in TipBody.model_fields} - {"phrases"} == fields


def test_what_is_answered_is_what_is_documented() -> None:
    tip = decision_pb2.Tip(
        decision_id="d", kind=decision_pb2.Decision.STARTER, title="t", decided_ms=1, valid_until_ms=2
    )
    assert TipBody.model_validate(tip_json(tip)).kind == "starter"
    assert tip_json(tip).keys() == TipBody.model_fields.keys()


def test_every_reaction_of_the_contract_can_be_given() -> None:
    contract = set(reaction_pb2.Reaction.Kind.values()) - {reaction_pb2.Reaction.KIND_UNSPECIFIED}
    assert {kind.number for kind in ReactionKind} == contract
    reasons = set(reaction_pb2.Reaction.Reason.values()) - {reaction_pb2.Reaction.REASON_UNSPECIFIED}
    assert {reason.number for reason in DismissReason} == reasons


def test_a_starter_is_said_by_its_codes_and_a_persons_own_words_never_are() -> None:
    title, why = "Start something small before Stand-up", ["Overdue by 1 day", "Because"]
    starter = decision_pb2.Tip(kind=decision_pb2.Decision.STARTER, title=title, detail="Own", why=why)
    of_starter = TipBody.model_validate(tip_json(starter)).phrases
    assert of_starter.title is not None
    assert (of_starter.title.code, of_starter.title.values) == ("gap", {"title": "Stand-up"})
    assert of_starter.detail is None
    assert [one and (one.code, one.values) for one in of_starter.why] == [("overdue", {"days": 1}), None]
    task = decision_pb2.Tip(kind=decision_pb2.Decision.TASK, title=title)
    assert TipBody.model_validate(tip_json(task)).phrases.title is None


def test_feedback_has_the_contracts_names() -> None:
    names = {field.name for field in reaction_pb2.Reaction.DESCRIPTOR.fields}
    assert FeedbackBody.model_fields.keys() - names == {"reaction"}

"""POST /v1/feedback: what a person did with a tip. Accepted means: in Kafka, and that tip is served no more.

It never decides what a reaction means; it makes sure that the same one, sent twice, counts once.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from oo.v1 import reaction_pb2
from serving.edge import Edge, TheEdge
from serving.idempotency import IdempotencyKey, claim
from serving.identity import Who
from serving.json_body import json_body
from serving.log import LogUnavailable
from serving.problems import Fault, Problem, invalid_body, invalid_request, unavailable
from serving.routes.answers import problems
from serving.schemas import FeedbackAccepted, FeedbackBody, ReactionKind
from serving.tokens import Identity
from serving.traced import rests_on
from tables.ids import belongs

router = APIRouter(tags=["tips"])

SOURCE = "edge"
BODY_BYTES_MAX = 4096
UNKNOWN = (
    "No decision with this id was made for this user: it is another's, or from before people were moved to pseudonyms."
)


@router.post(
    "/v1/feedback",
    summary="React to a tip",
    status_code=202,
    response_model=FeedbackAccepted,
    responses=problems(401, 403, 404, 415, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{FeedbackBody.__name__}"},
                    "example": {"decision_id": "0d0f3c1e5a6b7c8d9e0f1a2b3c4d5e6f", "reaction": "done"},
                }
            },
        }
    },
)
async def react(request: Request, who: Who, edge: TheEdge, idempotency_key: IdempotencyKey = None) -> Response:
    """`seen` is for the client that has really displayed the tip; the other three imply it.

    The same reaction to the same tip counts once, with or without an Idempotency-Key.
    """
    edge.departed.check(who.pseudonym)
    try:
        body = FeedbackBody.model_validate(await json_body(request, bytes_max=BODY_BYTES_MAX))
    except ValidationError as error:
        raise invalid_body(error) from None
    return await taken(edge, body, user_id=who.user_id, pseudonym=who.pseudonym, key=idempotency_key, who=who)


async def taken(
    edge: Edge, body: FeedbackBody, *, user_id: str, pseudonym: str, key: str | None = None, who: Identity | None = None
) -> Response:
    """The answer once Kafka has it. `key`: an Idempotency-Key of `who`. Raises problems."""
    if not belongs(body.decision_id, user_id=pseudonym, mac_key=edge.mac_key):
        raise Problem(404, "unknown-decision", detail=UNKNOWN)
    if body.snooze_until is not None and body.reaction is not ReactionKind.SNOOZE:
        raise invalid_request([Fault(pointer="/snooze_until", detail="goes with the reaction snooze only")])
    if body.reason is not None and body.reaction is not ReactionKind.DISMISS:
        raise invalid_request([Fault(pointer="/reason", detail="goes with the reaction dismiss only")])
    if span := edge.current.span_of(pseudonym, body.decision_id):
        rests_on(span)
    fingerprint = _fingerprint(body)
    if who is not None:
        await claim(edge, who, key=key, fingerprint=f"{fingerprint}\0{body.reason}" if body.reason else fingerprint)
    if edge.spent.full:
        raise unavailable("tips", detail="The tip store has been away too long to take more feedback; try again.")

    event_id = edge.mac("feedback", user_id, key or "", fingerprint)
    reaction = reaction_pb2.Reaction(
        event_id=event_id,
        user_id=user_id,
        decision_id=body.decision_id,
        kind=body.reaction.number,
        source=SOURCE,
    )
    reaction.event_time.FromMilliseconds(edge.now_ms())
    if body.snooze_until_ms is not None:
        reaction.snooze_until.FromMilliseconds(body.snooze_until_ms)
    if body.reason is not None:
        reaction.reason = body.reason.number
    if event_id not in edge.recent:
        try:
            await edge.log.send("reactions", [(user_id, reaction)])
        except LogUnavailable:
            raise unavailable(
                "log", detail="Kafka has not acknowledged the feedback; send it again, it will count once."
            ) from None
        edge.recent.add(event_id)
        edge.metrics.reactions.labels(body.reaction.value).inc()
    if body.reaction is not ReactionKind.SEEN:
        await edge.spent.add(pseudonym, body.decision_id)
        edge.metrics.spent_pending.set(edge.spent.pending)
        # Our own streams hear of it here, should Valkey's push not come.
        edge.subscriptions.changed(pseudonym)
    accepted = FeedbackAccepted(decision_id=body.decision_id, reaction=body.reaction.value, event_id=event_id)
    return Response(accepted.model_dump_json(), status_code=202, media_type="application/json")


def _fingerprint(body: FeedbackBody) -> str:
    """Of what counts once: whoever says why later has reacted before."""
    until = "" if body.snooze_until is None else str(body.snooze_until.timestamp())
    return f"{body.decision_id}\0{body.reaction.value}\0{until}"

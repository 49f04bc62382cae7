"""/v1/deliveries: what a person was told while they did not look, and what notifications and mails bring back: a button's reaction, and no
more mail. Those come without a session, each with a signed word for that one thing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, ValidationError

from serving.devices import AWAY, away, opened, telling_of
from serving.edge import TheEdge
from serving.identity import Who
from serving.json_body import json_body
from serving.problems import Problem, invalid_body
from serving.routes.answers import problems
from serving.routes.devices import HEADERS, ChannelName, button, said
from serving.routes.feedback import taken
from serving.schemas import ButtonBody, FeedbackAccepted, FeedbackBody, iso

router = APIRouter(tags=["devices"])

PAGE_MAX = 100
BODY_BYTES_MAX = 16 * 1024
_CURSOR = r"^[0-9]{1,18}\.[0-9a-f]{32}$"
_WORD = Annotated[str, Query(max_length=1024, description="As the link in the mail has it")]
_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page for people", "content": {"text/html": {"schema": {"type": "string"}}}}
}


class DeliveryBody(BaseModel):
    """A tip on a device."""

    delivery_id: str
    decision_id: str
    device_id: str = Field(description="Of GET /v1/devices, where it is still there")
    channel: ChannelName
    state: Literal["sending", "waiting", "sent", "failed", "unknown", "left"] = Field(
        description="unknown: it may have been sent, and is not sent again; left: it was not to be sent"
    )
    reason: str = Field(description="Why it was not sent, in a word: quiet, cap, consent, ran-out, gone, ...")
    begun_at: str
    ended_at: str | None
    reaction: str = Field(description="What one of its buttons said; empty for nothing")


class DeliveriesBody(BaseModel):
    items: list[DeliveryBody]
    next: str | None = Field(description="`before` of the next page; null at the end")


@router.get(
    "/v1/deliveries",
    summary="What I was told, newest first",
    response_model=DeliveriesBody,
    responses=problems(401, 403, 404, 422),
)
async def page(
    who: Who,
    edge: TheEdge,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, examples=[20])] = 20,
    before: Annotated[str | None, Query(pattern=_CURSOR, description="`next` of the page before")] = None,
) -> Response:
    """Of 90 days. 404 where nobody is told."""
    telling = telling_of(edge)
    edge.departed.check(who.pseudonym)
    begun, _, last = (before or "").partition(".")
    try:
        lines = await telling.store.page(who.pseudonym, limit=limit, before=(int(begun), last) if before else None)
    except AWAY:
        raise away() from None
    items = [
        DeliveryBody.model_construct(
            delivery_id=one.delivery_id,
            decision_id=one.decision_id,
            device_id=one.device_id,
            channel=cast("ChannelName", one.channel),
            state=one.state,
            reason=one.reason,
            begun_at=iso(one.begun_ms),
            ended_at=None if one.ended_ms is None else iso(one.ended_ms),
            reaction=one.reaction,
        )
        for one in lines
    ]
    after = f"{lines[-1].begun_ms}.{lines[-1].delivery_id}" if len(lines) == limit else None
    body = DeliveriesBody.model_construct(items=items, next=after)
    return Response(body.model_dump_json(), media_type="application/json", headers=HEADERS)


@router.get(
    "/v1/deliveries/unsubscribe",
    summary="Asks whether mail is to end",
    response_class=Response,
    responses={**_PAGE, **problems(403, 404, 422)},
    openapi_extra={"security": []},
)
async def ask(edge: TheEdge, word: _WORD) -> Response:
    """Changes nothing: what opens links by itself ends nothing."""
    telling_of(edge).read_word(word, "unsubscribe", now_ms=edge.now_ms())
    return button("No more mail / Keine Mail mehr", f"/v1/deliveries/unsubscribe?word={word}")


@router.post(
    "/v1/deliveries/unsubscribe",
    summary="No more mail to this address",
    response_class=Response,
    responses={**_PAGE, **problems(403, 404, 422)},
    openapi_extra={"security": []},
)
async def unsubscribe(edge: TheEdge, word: _WORD) -> Response:
    """One click of a mail program does it (RFC 8058), as often as it likes."""
    telling = telling_of(edge)
    device_id = telling.read_word(word, "unsubscribe", now_ms=edge.now_ms())
    try:
        await telling.store.remove(device_id)
    except AWAY:
        raise away() from None
    return said("No more mail comes. / Es kommt keine Mail mehr.")


@router.post(
    "/v1/deliveries/{delivery_id}/reaction",
    summary="React by a notification's button",
    status_code=202,
    response_model=FeedbackAccepted,
    responses=problems(403, 404, 409, 415, 422),
    openapi_extra={
        "security": [],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{ButtonBody.__name__}"},
                    "example": {"token": "eyJhbGciOi", "reaction": "done"},
                }
            },
        },
    },
)
async def react(request: Request, edge: TheEdge, delivery_id: Annotated[str, Path(max_length=64)]) -> Response:
    """Once: the same again is the same, another is a 409. It counts once beside what the page says, too."""
    try:
        asked = ButtonBody.model_validate(await json_body(request, bytes_max=BODY_BYTES_MAX))
    except ValidationError as error:
        raise invalid_body(error) from None
    telling = telling_of(edge)
    if telling.read_word(asked.token, "react", now_ms=edge.now_ms()) != delivery_id:
        raise Problem(403, "bad-word", detail="This button is of another notification.")
    try:
        line = await telling.store.line(delivery_id)
        known = None if line is None else await telling.store.device(line.device_id)
        if line is None or known is None:
            raise Problem(404, "unknown-delivery", detail="Nothing is known of this notification any more.")
        edge.departed.check(line.user_id)
        device = await opened(edge, known)
        first = await telling.store.react(delivery_id, reaction=asked.reaction.value)
    except AWAY:
        raise away() from None
    if first != asked.reaction.value:
        raise Problem(409, "reacted", detail="Another button of this notification was pressed before.")
    body = FeedbackBody.model_construct(
        decision_id=line.decision_id, reaction=asked.reaction, snooze_until=asked.snooze_until
    )
    return await taken(edge, body, user_id=device.user_id, pseudonym=line.user_id)

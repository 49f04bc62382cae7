"""GET /v1/tip: the one thing worth doing now. Reading has no effect, but that the engine hears of somebody new: that a tip was
seen is for the client to say."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from serving.edge import Edge, TheEdge
from serving.express import Answer, Headers
from serving.identity import Who
from serving.memory import NEVER, Current
from serving.routes.answers import problems
from serving.schemas import TipBody
from serving.tokens import Identity
from serving.traced import rests_on

router = APIRouter(tags=["tips"])

PATH = "/v1/tip"

# Personal; a browser may keep it to ask whether it still holds, never to show it unasked.
_HEADERS: Headers = [(b"cache-control", b"private, no-cache"), (b"vary", b"Authorization, Cookie")]
_SOON = (b"retry-after", b"2")
_JSON = (b"content-type", b"application/json")
_REACT = {
    "operationId": "react_v1_feedback_post",
    "requestBody": {"decision_id": "$response.body#/decision_id", "reaction": "seen"},
    "description": "That it was seen, or what the person did with it",
}


@router.get(
    PATH,
    summary="The current tip",
    response_model=TipBody,
    responses={
        200: {"links": {"React": _REACT}},
        204: {
            "description": "Nothing worth saying now",
            "headers": {
                "Retry-After": {
                    "description": "To somebody whose first tip is on its way: seconds",
                    "schema": {"type": "integer"},
                }
            },
        },
        **problems(304, 401, 422),
    },
)
async def read(
    who: Who, edge: TheEdge, if_none_match: Annotated[str | None, Header(examples=['"0-1"'])] = None
) -> Response:
    now = await edge.current.of(who.pseudonym)
    if now.event_id == NEVER:
        now = await edge.newcomers.first(who)
    answer = _answer(now)
    if now.body is not None and if_none_match is not None and _matches(if_none_match, f'"{now.event_id}"'):
        answer = Answer(304, [*_HEADERS, _tag(now)], b"")
    response = Response(answer.body, status_code=answer.status)
    response.raw_headers = answer.headers
    return response


def remembered(edge: Edge, who: Identity) -> Answer | None:
    """The same as `read` where memory has it, and nobody need be told."""
    now = edge.current.remembered(who.pseudonym)
    return None if now is None or (now.body is None and now.event_id == NEVER) else _answer(now)


def _answer(now: Current) -> Answer:
    if now.traceparent:
        rests_on(now.traceparent)
    if now.body is None:
        return Answer(204, [*_HEADERS, _SOON] if now.event_id == NEVER else _HEADERS.copy(), b"")
    length = (b"content-length", b"%d" % len(now.body))
    return Answer(200, [*_HEADERS, _tag(now), _JSON, length], now.body)


def _tag(now: Current) -> tuple[bytes, bytes]:
    return (b"etag", b'"%b"' % now.event_id.encode())


def _matches(stated: str, tag: str) -> bool:
    """RFC 9110, 13.1.2: weak comparison, a list, or any.

    >>> _matches('"a", W/"b"', '"b"'), _matches("*", '"b"'), _matches('"a"', '"b"')
    (True, True, False)
    """
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in stated.split(","))

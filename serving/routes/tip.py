"""GET /v1/tip: the one thing worth doing now. Reading has no effect: that it was seen is for the client to say."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from serving.edge import TheEdge
from serving.identity import Who
from serving.routes.answers import problems
from serving.shapes import TipBody

router = APIRouter(tags=["tips"])

# Personal; a browser may keep it to ask whether it still holds, never to show it unasked.
_HEADERS = {"cache-control": "private, no-cache", "vary": "Authorization, Cookie"}


@router.get(
    "/v1/tip",
    summary="The current tip",
    response_model=TipBody,
    responses={204: {"description": "Nothing worth saying now"}, **problems(304, 401, 422, 503)},
)
async def read(who: Who, edge: TheEdge, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    now = await edge.current.of(who.user_id)
    if now.body is None:
        return Response(status_code=204, headers=_HEADERS)
    tag = f'"{now.event_id}"'
    headers = {**_HEADERS, "etag": tag}
    if if_none_match is not None and _matches(if_none_match, tag):
        return Response(status_code=304, headers=headers)
    return Response(now.body, media_type="application/json", headers=headers)


def _matches(stated: str, tag: str) -> bool:
    """RFC 9110, 13.1.2: weak comparison, a list, or any.

    >>> _matches('"a", W/"b"', '"b"'), _matches("*", '"b"'), _matches('"a"', '"b"')
    (True, True, False)
    """
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in stated.split(","))

"""POST /v1/hooks/{id}: what another service says to a connection of that kind. Whoever has its secret may, and nobody else.

It keeps what was posted, sealed, and says so; `connect` reads it in its turn, so that two that come at once are heard one after the other.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath
from starlette.requests import ClientDisconnect

from connectors.postgres.connections import Unreachable
from connectors.sources.source import Access, Delivery, Hooked
from connectors.vault import NotOpened
from serving import connecting
from serving.edge import TheEdge
from serving.problems import Problem, unavailable
from serving.routes.answers import problems
from streams.keys import KekGone

log = logging.getLogger(__name__)
router = APIRouter(tags=["connections"])

BODY_BYTES_MAX = 256 * 1024
HEADERS_MAX = 64
_WITHHELD = frozenset({"cookie", "authorization", "host"})
_REFUSED = {
    "bad-signature": (401, "The signature is not of this hook's secret."),
    "too-old": (400, "It was signed too long ago, or its clock is wrong."),
    "bad-body": (400, "The body says nothing that this hook knows."),
}


@router.post(
    "/v1/hooks/{connection_id}",
    summary="Posted by a service",
    status_code=202,
    responses=problems(400, 401, 404, 413, 415, 422, 429),
    openapi_extra={
        "security": [],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}, "example": {"type": "task.created"}}},
        },
    },
)
async def hear(
    request: Request, connection_id: Annotated[str, InPath(pattern=r"^[0-9a-f]{1,32}$")], edge: TheEdge
) -> Response:
    """Signed as the source says (Standard Webhooks for `hook`). The same delivery twice counts once."""
    parts = edge.connecting
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise Problem(415, "unsupported-media-type", detail="Post JSON, with `Content-Type: application/json`.")
    try:
        one = None if parts is None else await parts.connections.one(connection_id)
        source: object = None if parts is None or one is None else parts.sources.get(one.source)
        if parts is None or one is None or not isinstance(source, Hooked):
            raise Problem(404, "unknown-hook", detail="There is no such hook.")
        try:
            body = await request.body()
        except ClientDisconnect:
            raise Problem(400, "broken-off", detail="The body ended before it was whole.") from None
        if len(body) > BODY_BYTES_MAX:
            raise Problem(413, "too-large", detail=f"A body may have {BODY_BYTES_MAX} bytes here.")
        headers = {name.lower(): value for name, value in request.headers.items() if name.lower() not in _WITHHELD}
        box = parts.box(one)
        user_id, settings = connecting.settings_in(box, one)
        access = Access(
            connection_id,
            user_id,
            ZoneInfo(box.open("zone", one.zone).decode() or "UTC"),
            datetime.fromtimestamp(edge.now_ms() / 1000, UTC),
            parts.outside,
            settings=settings,
            credentials=connecting.credentials_in(box, one),
        )
        # Only whether it is to be heard: what it says is read where the place is known.
        heard = source.webhook(access, b"", Delivery(headers, body))
        if heard.refused:
            status, detail = _REFUSED[heard.refused]
            raise Problem(status, heard.refused, detail=detail)
        said = {"headers": dict([*headers.items()][:HEADERS_MAX]), "body": body.hex(), "received_ms": edge.now_ms()}
        delivery = json.dumps(said).encode()
        if not await parts.connections.post(connection_id, delivery=box.seal("delivery", delivery)):
            detail = "Too much waits to be read, or the person has paused it; post it again later."
            raise Problem(429, "not-now", detail=detail, headers={"retry-after": "60"})
    except (*Unreachable, KekGone, NotOpened) as error:
        log.warning("hook.failed error=%s", type(error).__name__)
        raise unavailable("connections", detail="Connections cannot be reached now; post it again.") from None
    return Response(status_code=202)

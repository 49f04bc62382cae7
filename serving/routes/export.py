"""GET /v1/me/export: everything about the person who asks, as a zip; made beside the edge, and given out as it is found."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from serving.edge import TheEdge
from serving.exports import Busy, NotMade
from serving.identity import Who
from serving.problems import unavailable
from serving.routes.answers import problems

log = logging.getLogger(__name__)
router = APIRouter(tags=["me"])


@router.get(
    "/v1/me/export",
    summary="Everything about you, as files in a zip",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "README.txt in it says what is in which file",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(401, 403, 503),
    },
)
async def export(who: Who, edge: TheEdge) -> StreamingResponse:
    edge.departed.check(who.pseudonym)
    try:
        pieces = await edge.exports.begin(who.user_id, pseudonym=who.pseudonym)
    except Busy:
        raise unavailable("export", detail="Others' exports are being made; try again.", retry_after_s=10) from None
    except NotMade:
        log.warning("export.not_made")
        raise unavailable("export", detail="What is known of you cannot be read now; try again.") from None
    # No name of a person in the file's.
    headers = {"content-disposition": 'attachment; filename="oo-export.zip"', "cache-control": "no-store"}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)

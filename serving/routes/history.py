"""GET /v1/tips: past tips and what became of them, from PostgreSQL; tips of now go on without it."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from typing import Annotated

from fastapi import APIRouter, Query, Response

from connectors.postgres.history import PAGE_MAX, Cursor
from connectors.postgres.sink import Unreachable
from serving.edge import TheEdge
from serving.identity import Who
from serving.problems import Fault, Problem, unavailable
from serving.routes.answers import problems
from serving.schemas import History, PastTip, iso

log = logging.getLogger(__name__)
router = APIRouter(tags=["tips"])


@router.get("/v1/tips", summary="Past tips, newest first", response_model=History, responses=problems(401, 422, 503))
async def page(
    who: Who,
    edge: TheEdge,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 20,
    before: Annotated[str | None, Query(max_length=128, description="`next` of the page before")] = None,
) -> Response:
    cursor = None if before is None else _cursor(before)
    if edge.history is None:
        raise unavailable("history", detail="This edge has no history to read.", retry_after_s=60)
    try:
        entries = await edge.history.page(who.user_id, limit=limit, before=cursor)
    except Unreachable as error:
        log.warning("history.failed error=%s", type(error).__name__)
        raise unavailable("history", detail="The history cannot be read now; tips go on.", retry_after_s=5) from None
    items = [
        PastTip(
            decision_id=entry.decision_id,
            kind=entry.kind.lower(),
            title=entry.title,
            decided_at=iso(entry.decided_ms),
            outcome=None if entry.outcome is None else entry.outcome.lower(),
        )
        for entry in entries
    ]
    after = _text(entries[-1].cursor) if len(entries) == limit else None
    return Response(History(items=items, next=after).model_dump_json(), media_type="application/json")


def _text(cursor: Cursor) -> str:
    """
    >>> _cursor(_text(Cursor(17, "d1")))
    Cursor(decided_ms=17, decision_id='d1')
    """
    return base64.urlsafe_b64encode(f"{cursor.decided_ms}:{cursor.decision_id}".encode()).decode().rstrip("=")


def _cursor(text: str) -> Cursor:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        decided_ms, _, decision_id = raw.partition(":")
        number = int(decided_ms)
        if not 0 <= number < 2**63 or re.fullmatch(r"[!-~]{1,64}", decision_id) is None:
            raise ValueError(text)
        return Cursor(number, decision_id)
    except (ValueError, binascii.Error) as error:
        fault = Fault(pointer="before", detail="must be the `next` of an earlier page")
        raise Problem(422, "invalid-request", detail="This page does not exist.", errors=[fault]) from error

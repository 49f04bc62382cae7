"""GET /v1/tips: past tips and what became of them, from PostgreSQL; tips of now go on without it."""

from __future__ import annotations

import logging
from typing import Annotated

from confluent_kafka import KafkaException
from fastapi import APIRouter, Query, Response

from connectors.postgres.history import PAGE_MAX, Cursor, Entry
from connectors.postgres.sink import Unreachable
from oo.v1.decision_pb2 import Decision
from serving.edge import Edge, TheEdge
from serving.identity import Who
from serving.problems import unavailable
from serving.routes.answers import problems
from serving.schemas import History, PastTip, iso
from streams.keys import opened_by
from streams.sealing import KeyMissing, NotOpened

log = logging.getLogger(__name__)
router = APIRouter(tags=["tips"])


_CURSOR = r"^[0-9]{1,18}\.[A-Za-z0-9._~-]{1,64}$"
_OLDER = {
    "operationId": "page_v1_tips_get",
    "parameters": {"before": "$response.body#/next"},
    "description": "The page behind this one, where `next` is not null",
}


@router.get(
    "/v1/tips",
    summary="Past tips, newest first",
    response_model=History,
    responses={200: {"links": {"Older": _OLDER}}, **problems(401, 422)},
)
async def page(
    who: Who,
    edge: TheEdge,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, examples=[20])] = 20,
    before: Annotated[
        str | None, Query(pattern=_CURSOR, description="`next` of the page before", examples=["1764300000000.d1"])
    ] = None,
    seen: Annotated[
        bool, Query(description="Those alone that were seen: many a tip gives way before anybody looks")
    ] = False,
) -> Response:
    cursor = None if before is None else _cursor(before)
    if edge.history is None:
        raise unavailable("history", detail="This edge has no history to read.", retry_after_s=60)
    try:
        found = await edge.history.page(who.pseudonym, limit=limit, before=cursor, seen=seen)
    except Unreachable as error:
        log.warning("history.failed error=%s", type(error).__name__)
        raise unavailable("history", detail="The history cannot be read now; tips go on.", retry_after_s=5) from None
    # `record` deletes what is of a life that ended, and may be behind.
    entries = [entry for entry in found if entry.decided_ms > edge.departed.since_ms(who.pseudonym)]
    items = [
        PastTip(
            decision_id=entry.decision_id,
            kind=entry.kind.lower(),
            title=(await _decision(entry, who=who.pseudonym, edge=edge)).title,
            decided_at=iso(entry.decided_ms),
            outcome=None if entry.outcome is None else entry.outcome.lower(),
        )
        for entry in entries
    ]
    after = _text(entries[-1].cursor) if entries and len(found) == limit else None
    return Response(History(items=items, next=after).model_dump_json(), media_type="application/json")


async def _decision(entry: Entry, *, who: str, edge: Edge) -> Decision:
    try:
        return await opened_by(edge.people, Decision.FromString(entry.message), whose=who.encode())
    except (KeyMissing, NotOpened, KafkaException) as error:
        log.warning("history.not_opened error=%s", error)
        raise unavailable("history", detail="The history cannot be opened now; tips go on.", retry_after_s=5) from None


def _text(cursor: Cursor) -> str:
    """
    >>> _cursor(_text(Cursor(17, "d1")))
    Cursor(decided_ms=17, decision_id='d1')
    """
    return f"{cursor.decided_ms}.{cursor.decision_id}"


def _cursor(text: str) -> Cursor:
    decided_ms, _, decision_id = text.partition(".")
    return Cursor(int(decided_ms), decision_id)

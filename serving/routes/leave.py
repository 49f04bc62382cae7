"""DELETE /v1/me: the person leaves, and is asked once more; POST /v1/me: they begin again.

It forgets nobody itself: the request stands in the log, in order, and everything follows from there.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated

from confluent_kafka import KafkaException
from fastapi import APIRouter, Query, Response

from connectors.leaving import begin_again, leave
from oo.v1.subject_request_pb2 import SubjectRequest
from serving.edge import Edge, TheEdge
from serving.identity import Who
from serving.log import LogUnavailable
from serving.problems import Problem, unavailable
from serving.routes.answers import problems
from serving.schemas import RequestAccepted
from streams.units import SECOND_MS

router = APIRouter(tags=["me"])

CONFIRM_S = 600
"""How long an answer to the question is waited for."""
WHAT = (
    "Everything that is known of you here is erased: tasks, calendar, settings, tips and what was learned from you."
    " It cannot be undone. To go on, send DELETE /v1/me?confirm=, with `confirm` of this answer, within ten minutes."
)


class Asked(Problem):
    """The question, with what has to come back as the answer."""

    def __init__(self, confirm: str) -> None:
        super().__init__(409, "confirm-leaving", detail=WHAT)
        self._confirm = confirm

    def body(self) -> dict[str, object]:
        return {**super().body(), "confirm": self._confirm}


@router.delete(
    "/v1/me",
    summary="Leave",
    status_code=202,
    response_model=RequestAccepted,
    responses=problems(401, 403, 409, 422),
)
async def go(
    who: Who,
    edge: TheEdge,
    confirm: Annotated[str | None, Query(max_length=200, description="From the 409 that the first call gets")] = None,
) -> Response:
    """Without `confirm` nothing happens: 409, and what to confirm. With it 202 and a receipt; the same again is the same leaving."""
    receipt = None if confirm is None else _receipt(edge, who.user_id, confirm)
    if receipt is None:
        raise Asked(_question(edge, who.user_id))
    try:
        request = await leave(edge.log.cluster, who.user_id, receipt=receipt)
    except (KafkaException, KeyError, TimeoutError):
        raise unavailable("log", detail="Kafka does not answer; confirm again, it will count once.") from None
    return await _sent(edge, request)


@router.post(
    "/v1/me",
    summary="Begin again",
    status_code=202,
    response_model=RequestAccepted,
    responses=problems(401, 403, 409, 422),
)
async def come_back(who: Who, edge: TheEdge) -> Response:
    """Only for somebody who left: a new life begins, without anything of the one before."""
    word = edge.departed.leavers.word_of(who.pseudonym)
    if word is None or word.HasField("began_again"):
        raise Problem(409, "not-left", detail="You have not left, as far as this edge knows.")
    # Of the receipt, so that the same twice counts once.
    name = edge.mac("begin-again", word.receipt)
    return await _sent(edge, begin_again(who.user_id, request_id=name, receipt=word.receipt))


async def _sent(edge: Edge, request: SubjectRequest) -> Response:
    try:
        await edge.log.send("subject-requests", [(request.user_id, request)])
    except LogUnavailable:
        raise unavailable("log", detail="Kafka has not acknowledged it; send it again, it will count once.") from None
    accepted = RequestAccepted(receipt=request.request_id)
    return Response(accepted.model_dump_json(), status_code=202, media_type="application/json")


def _question(edge: Edge, user_id: str) -> str:
    receipt, until_s = secrets.token_urlsafe(18), edge.now_ms() // SECOND_MS + CONFIRM_S
    return f"{receipt}.{until_s}.{edge.mac('leave', user_id, receipt, str(until_s))}"


def _receipt(edge: Edge, user_id: str, confirm: str) -> str | None:
    """The receipt that was asked about; None for what is no answer of this person's, or comes too late."""
    receipt, _, rest = confirm.partition(".")
    until_s, _, mac = rest.partition(".")
    if not hmac.compare_digest(mac.encode(), edge.mac("leave", user_id, receipt, until_s).encode()):
        return None
    return receipt if int(until_s) > edge.now_ms() // SECOND_MS else None

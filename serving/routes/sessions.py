"""GET /v1/sessions: where a person is signed in; DELETE /v1/sessions/{id}: not there any more."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field

from serving.edge import TheEdge
from serving.identity import Who
from serving.problems import Problem, unavailable
from serving.routes.answers import problems
from serving.routes.sign_in import sign_in_of
from serving.schemas import iso

router = APIRouter(tags=["sign-in"])


class SessionBody(BaseModel):
    """One device or program."""

    session_id: str
    kind: Literal["browser", "program"]
    device: str = Field(description="As its browser said, in a word or three")
    current: bool = Field(description="Whether it is the one that asks")
    signed_in_at: str
    used_at: str = Field(description="To a minute")


class SessionsBody(BaseModel):
    """The one used last first; 100 at most."""

    sessions: list[SessionBody]


@router.get(
    "/v1/sessions", summary="Where I am signed in", response_model=SessionsBody, responses=problems(401, 403, 404)
)
async def read(who: Who, edge: TheEdge) -> Response:
    """404 where nobody signs in."""
    from serving.auth.sessions import AWAY

    sign_in = sign_in_of(edge)
    try:
        found = await sign_in.sessions.listed(who.pseudonym)
    except AWAY:
        raise unavailable("sessions", detail="The sessions cannot be read now; try again.") from None
    body = SessionsBody(
        sessions=[
            SessionBody(
                session_id=one.session_id,
                kind="browser" if one.kind == "browser" else "program",
                device=one.device,
                current=one.session_id == who.session,
                signed_in_at=iso(one.made_ms),
                used_at=iso(one.used_ms),
            )
            for one in found
        ]
    )
    headers = {"cache-control": "private, no-store", "vary": "Authorization, Cookie"}
    return Response(body.model_dump_json(), media_type="application/json", headers=headers)


@router.delete(
    "/v1/sessions/{session_id}",
    summary="Sign out there",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404, 422),
)
async def end(
    who: Who, edge: TheEdge, session_id: Annotated[str, Path(max_length=64, description="Of GET /v1/sessions")]
) -> Response:
    """Counts everywhere within a second. 404 for one that is not this person's, or has ended."""
    from serving.auth.sessions import AWAY

    sign_in = sign_in_of(edge)
    try:
        ended = await sign_in.sessions.end(session_id, pseudonym=who.pseudonym)
    except AWAY:
        raise unavailable("sessions", detail="Not every edge was told; send it again.") from None
    if not ended:
        raise Problem(404, "unknown-session", detail="There is no such session of yours; GET /v1/sessions lists them.")
    return Response(status_code=204)

"""Who asks: the subject of the bearer token, or of the session cookie: a session where people sign in, the local user's token where not.

It never takes a user from a parameter, a path or a body, and lets a cookie change things only from our own pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from serving.edge import Edge, edge_of
from serving.keys import KeysUnavailable
from serving.middleware import NEW_COOKIE
from serving.problems import Problem, unavailable
from serving.tokens import REFUSALS, Identity, TokenRefused
from streams.units import DAY_S

if TYPE_CHECKING:
    from serving.auth.sessions import Session

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
COOKIE_S = 90 * DAY_S
_SESSIONS_AWAY = unavailable("sessions", detail="Whether the session stands cannot be said now; try again.")


async def identity(request: Request) -> Identity:
    """Raises a 401 problem that says what is wrong with the token, 403 for a foreign page's use of the cookie."""
    edge = edge_of(request)
    stated = request.headers.get("authorization")
    if stated is not None:
        scheme, _, token = stated.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("no-token", "Send `Authorization: Bearer TOKEN`.")
        who = await _verified(edge, token.strip())
        if who.session is not None:
            await _check_session(edge, who.session)
        return who
    cookie = request.cookies.get(edge.cookie)
    if cookie is None:
        detail = (
            "Send `Authorization: Bearer TOKEN`." if edge.sign_in is None else "Sign in: GET /auth/providers says how."
        )
        raise _unauthorized("no-token", detail)
    if request.method not in SAFE_METHODS and not from_our_own_page(request):
        raise Problem(403, "foreign-origin", detail="A session cookie counts only in requests from our own pages.")
    if edge.sign_in is not None:
        return (await session_of(request, edge)).who
    return await _verified(edge, cookie)


Who = Annotated[Identity, Depends(identity)]


def from_our_own_page(request: Request) -> bool:
    """Whether the browser says that one of our own pages asks, in each of the ways in which it says so."""
    edge = edge_of(request)
    own = (
        f"{request.url.scheme}://{request.headers.get('host', '')}" if edge.sign_in is None else edge.sign_in.public_url
    )
    site = request.headers.get("sec-fetch-site", "same-origin")
    if edge.sign_in is not None and request.headers.get("origin") == "null" and "sec-fetch-site" in request.headers:
        # A form of a page that tells nobody where it is; the browser itself says that the page is ours.
        return site == "same-origin"
    return request.headers.get("origin") == own and site == "same-origin"


async def session_of(request: Request, edge: Edge) -> Session:
    """The session of the cookie; its answer renews the cookie where it is time. Raises a 401 problem, or 503."""
    from serving.auth.sessions import SessionEnded, SessionsAway

    assert edge.sign_in is not None
    try:
        session = await edge.sign_in.sessions.of_cookie(request.cookies.get(edge.cookie, ""))
    except SessionEnded:
        raise _unauthorized("session-ended", "The session has ended: sign in again.") from None
    except SessionsAway:
        raise _SESSIONS_AWAY from None
    if session.renewed is not None:
        request.scope[NEW_COOKIE] = session_cookie(edge, session.renewed)
    return session


def session_cookie(edge: Edge, token: str | None) -> bytes:
    """The header that sets the session's cookie; with None, that takes it away."""
    assert edge.sign_in is not None
    ends = "Max-Age=0" if token is None else f"Max-Age={COOKIE_S}"
    # Lax: who follows a link to us is signed in when they arrive, and when they come back from their provider.
    secure = "; Secure" if edge.sign_in.secure else ""
    return f"{edge.cookie}={token or ''}; Path=/; {ends}; HttpOnly; SameSite=Lax{secure}".encode()


async def _check_session(edge: Edge, session_id: str) -> None:
    from serving.auth.sessions import SessionsAway

    assert edge.sign_in is not None
    try:
        if await edge.sign_in.sessions.stands(session_id):
            return
    except SessionsAway:
        raise _SESSIONS_AWAY from None
    raise _unauthorized(
        "session-ended", "The session of this token has ended: sign in again.", challenge='Bearer error="invalid_token"'
    )


async def _verified(edge: Edge, token: str) -> Identity:
    try:
        return await edge.verifier.verify(token)
    except TokenRefused as error:
        edge.metrics.refused_tokens.labels(error.reason).inc()
        raise _unauthorized(
            f"token-{error.reason}", REFUSALS[error.reason], challenge='Bearer error="invalid_token"'
        ) from None
    except KeysUnavailable:
        raise unavailable("keys", detail="The issuer's keys cannot be had; try again.") from None


def _unauthorized(kind: str, detail: str, *, challenge: str = "Bearer") -> Problem:
    if challenge != "Bearer":
        challenge = f'{challenge}, error_description="{detail}"'
    return Problem(401, kind, detail=detail, headers={"www-authenticate": challenge})


async def still_stands(edge: Edge, session_id: str) -> bool:
    """Whether a session goes on, for what stays open; where nobody can say, it does."""
    from serving.auth.sessions import SessionsAway

    assert edge.sign_in is not None
    try:
        return await edge.sign_in.sessions.stands(session_id)
    except SessionsAway:
        return True

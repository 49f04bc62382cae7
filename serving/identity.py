"""Who asks: the subject of the bearer token, or of the session cookie.

It never takes a user from a parameter, a path or a body, and lets a cookie change things only from our own pages.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from serving.edge import Edge, edge_of
from serving.keys import KeysUnavailable
from serving.problems import Problem, unavailable
from serving.tokens import REFUSALS, Identity, TokenRefused

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


async def identity(request: Request) -> Identity:
    """Raises a 401 problem that says what is wrong with the token, 403 for a foreign page's use of the cookie."""
    edge = edge_of(request)
    stated = request.headers.get("authorization")
    if stated is not None:
        scheme, _, token = stated.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise _unauthorized("no-token", "Send `Authorization: Bearer TOKEN`.")
        return await _verified(edge, token.strip())
    cookie = request.cookies.get(edge.cookie)
    if cookie is None:
        raise _unauthorized("no-token", "Send `Authorization: Bearer TOKEN`.")
    if request.method not in SAFE_METHODS and not _from_our_own_page(request):
        raise Problem(403, "foreign-origin", detail="A session cookie counts only in requests from our own pages.")
    return await _verified(edge, cookie)


Who = Annotated[Identity, Depends(identity)]


def _from_our_own_page(request: Request) -> bool:
    return request.headers.get("origin") == f"{request.url.scheme}://{request.headers.get('host', '')}"


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

"""Signing in and out: /auth/..., for people's browsers and for programs that act for them.

It never says of an account whether it exists, and never sends a browser anywhere but to a provider of the operator's file or a page of ours.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import RedirectResponse

from serving.edge import Edge, TheEdge
from serving.form_body import form_body
from serving.identity import from_our_own_page, session_cookie, session_of
from serving.middleware import NEW_COOKIE
from serving.problems import Problem, unavailable
from serving.routes.answers import problems

if TYPE_CHECKING:
    from serving.auth.sessions import Session
    from serving.auth.sign_in import SignIn

log = logging.getLogger(__name__)
router = APIRouter(tags=["sign-in"])

ProviderName = Annotated[str, Path(max_length=32, pattern="^[a-z][a-z0-9-]*$", description="Of GET /auth/providers")]
_GOES: dict[int | str, dict[str, Any]] = {
    303: {"description": "On to another page", "headers": {"Location": {"schema": {"type": "string"}}}}
}


class ProviderBody(BaseModel):
    """One way to sign in."""

    provider: str
    name: str = Field(description="For people")
    login: str = Field(description="Where to send the browser; `next` is the page to come back to")


class ProvidersBody(BaseModel):
    """All ways to sign in; none where nobody signs in here."""

    providers: list[ProviderBody]


@router.get("/auth/providers", summary="Ways to sign in", response_model=ProvidersBody)
async def providers(edge: TheEdge) -> Response:
    known = {} if edge.sign_in is None else edge.sign_in.providers
    body = ProvidersBody(
        providers=[
            ProviderBody(provider=name, name=one.settings.name, login=f"/auth/login/{name}")
            for name, one in known.items()
        ]
    )
    return Response(body.model_dump_json(), media_type="application/json")


@router.get(
    "/auth/login/{provider}",
    summary="Sign in: the browser goes to the provider",
    status_code=303,
    response_class=Response,
    responses={**_GOES, **problems(403, 404, 422, 429)},
)
async def login(
    request: Request,
    edge: TheEdge,
    provider: ProviderName,
    destination: Annotated[
        str, Query(alias="next", max_length=501, description="The page of this site to come back to")
    ] = "/",
    link: Annotated[
        bool,
        Query(
            description="Join this account to the person who is signed in, or to the one with the same verified address"
        ),
    ] = False,
) -> Response:
    sign_in = sign_in_of(edge, provider)
    if request.headers.get("host", "") != sign_in.public_url.partition("://")[2]:
        # The provider's answer comes to the public address, and so must the cookie that it has to meet.
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{sign_in.public_url}{request.url.path}{query}", 303)
    await limit(edge, request, "login")
    if link and request.headers.get("sec-fetch-site") != "same-origin":
        # Else a page that has signed its visitor in to an account of its own could join that to them.
        raise refused("link", status=403)
    with_cookie = request.cookies.get(sign_in.ticket_cookie)
    with _told():
        begun = await sign_in.begin(
            provider, destination=destination, binding=with_cookie, link=link, by=await session_or_none(request, edge)
        )
    response = RedirectResponse(begun.address, 303)
    _bind(response, sign_in, begun.binding, posts=sign_in.providers[provider].posts)
    return response


@router.get(
    "/auth/callback/{provider}",
    summary="The provider's answer, brought by the browser",
    status_code=303,
    response_class=Response,
    responses={**_GOES, **problems(404, 422, 429)},
)
async def callback(request: Request, edge: TheEdge, provider: ProviderName) -> Response:
    """Begins a session, and goes to the page that asked for it."""
    return await _answered(request, edge, provider, parse_qsl(request.url.query, keep_blank_values=True))


@router.post(
    "/auth/callback/{provider}",
    summary="The provider's answer, posted from its page",
    status_code=303,
    response_class=Response,
    responses={**_GOES, **problems(404, 415, 422, 429)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
                    "example": {"state": "s", "code": "c"},
                }
            },
        }
    },
)
async def callback_posted(request: Request, edge: TheEdge, provider: ProviderName) -> Response:
    """As the other, for a provider that posts its answer."""
    return await _answered(request, edge, provider, list((await form_body(request)).items()))


@router.post(
    "/auth/logout", summary="Sign out", status_code=204, response_class=Response, responses=problems(403, 404, 422)
)
async def logout(
    request: Request,
    edge: TheEdge,
    everywhere: Annotated[bool, Query(description="On every device, and programs too")] = False,
) -> Response:
    """Without a session it does nothing but take the cookie away."""
    from serving.auth.sessions import AWAY

    sign_in = sign_in_of(edge)
    if not from_our_own_page(request):
        raise Problem(403, "foreign-origin", detail="Only a page of ours signs out.")
    session = await session_or_none(request, edge)
    if session is not None:
        try:
            await sign_in.sessions.end(session.session_id)
            if everywhere:
                await sign_in.sessions.end_all(session.who.pseudonym)
        except AWAY:
            raise unavailable("sessions", detail="Not every device was told; sign out again.") from None
    request.scope[NEW_COOKIE] = session_cookie(edge, None)
    return Response(status_code=204)


def sign_in_of(edge: Edge, provider: str | None = None) -> SignIn:
    """What signs people in here. Raises a 404 problem where nothing does, or not with this provider."""
    if edge.sign_in is None:
        raise Problem(404, "no-sign-in", detail="Nobody signs in here: the operator has configured no providers.")
    if provider is not None and provider not in edge.sign_in.providers:
        raise Problem(
            404, "unknown-provider", detail="There is no such provider; GET /auth/providers lists those there are."
        )
    return edge.sign_in


def refused(reason: str, *, status: int = 422) -> Problem:
    """Why a sign-in does not count."""
    from serving.auth.sign_in import REFUSALS

    return Problem(status, f"sign-in-{reason}", detail=REFUSALS[reason])


async def limit(edge: Edge, request: Request, kind: str, *, times: int = 1) -> None:
    """Raises a 429 problem for an address that asks more than `times` as often as one may; 503 where nobody can count."""
    from connectors.valkey import Unreachable

    assert edge.sign_in is not None
    who = edge.sign_in.seals.mac("address", kind, network(request.client.host if request.client else "")).hex()[:32]
    try:
        count, wait_s = await edge.sign_in.tickets.tries(kind, who)
    except Unreachable:
        raise unavailable("sign-in", detail="Nobody can sign in now; try again.") from None
    if count > edge.sign_in.per_minute * times:
        raise Problem(
            429, "too-often", detail="Too many tries from this address.", headers={"retry-after": str(wait_s)}
        )


def network(address: str) -> str:
    """What somebody can change their address within.

    >>> network("192.0.2.7"), network("2001:db8:1:2:3::4"), network("x")
    ('192.0.2.7', '2001:db8:1:2::', 'x')
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)


async def _answered(request: Request, edge: Edge, provider: str, pairs: list[tuple[str, str]]) -> Response:
    from serving.auth.sign_in import Cancelled

    sign_in = sign_in_of(edge, provider)
    await limit(edge, request, "callback")
    answer = dict(pairs)
    if len(answer) != len(pairs):
        # Said twice, it is open which counts.
        raise refused("state")
    by = await session_or_none(request, edge)
    with _told():
        try:
            done = await sign_in.finish(
                provider,
                answer,
                binding=request.cookies.get(sign_in.ticket_cookie),
                by=by,
                device=device_of(request.headers.get("user-agent", "")),
            )
        except Cancelled as cancelled:
            joined = "&" if "?" in cancelled.destination else "?"
            return RedirectResponse(f"{cancelled.destination}{joined}sign-in=cancelled", 303)
    request.scope[NEW_COOKIE] = session_cookie(edge, done.token)
    return RedirectResponse(done.destination, 303)


async def session_or_none(request: Request, edge: Edge) -> Session | None:
    """The session of the cookie, where there is one."""
    if edge.cookie not in request.cookies:
        return None
    try:
        return await session_of(request, edge)
    except Problem as problem:
        if problem.status == 401:
            return None
        raise


def _bind(response: Response, sign_in: SignIn, binding: str, *, posts: bool) -> None:
    from connectors.tickets import UNDER_WAY_S

    # A form that another site posts brings no other cookie than this kind, which needs TLS.
    response.set_cookie(
        sign_in.ticket_cookie,
        binding,
        max_age=UNDER_WAY_S,
        path="/",
        httponly=True,
        secure=sign_in.secure,
        samesite="none" if posts and sign_in.secure else "lax",
    )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What goes wrong, as problems."""
    from connectors.oidc import ProviderAway
    from serving.auth.sessions import AWAY, SessionsAway
    from serving.auth.sign_in import SignInRefused

    try:
        yield
    except SignInRefused as error:
        raise refused(error.reason) from None
    except ProviderAway as error:
        log.warning("sign_in.provider_away fault=%s", error)
        raise unavailable("provider", detail="The provider does not answer as it should; try again.") from None
    except (SessionsAway, *AWAY) as error:
        log.warning("sign_in.failed error=%s", type(error).__name__)
        raise unavailable("sign-in", detail="Nobody can sign in now; try again.") from None


_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "Mac"),
    ("Linux", "Linux"),
)
_BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))


def device_of(agent: str) -> str:
    """What a person knows their device by; nothing else of what the browser says is kept.

    >>> device_of("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), device_of("curl/8")
    ('Firefox on Linux', 'A program')
    """
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser is None:
        return "A program"
    return browser if system is None else f"{browser} on {system}"

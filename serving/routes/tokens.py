"""Programs that act for a person: POST /auth/token, and the device flow's /auth/device (RFC 6749, 6750, 8628); our keys.

What goes wrong at /auth/token is a problem with OAuth's own word beside, so that OAuth's clients understand it.
"""

from __future__ import annotations

import re
from html import escape
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from serving.edge import TheEdge
from serving.form_body import form_body
from serving.identity import from_our_own_page
from serving.problems import Problem, unavailable
from serving.routes.answers import problems
from serving.routes.sign_in import limit, session_or_none, sign_in_of

router = APIRouter(tags=["sign-in"])

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
NAME = re.compile(r"[\x20-\x7e]{1,60}")
_FORM = "application/x-www-form-urlencoded"
_ERRORS = {
    "invalid_request": "Send the form that RFC 6749 or RFC 8628 asks for.",
    "unsupported_grant_type": f"`grant_type` is refresh_token or {DEVICE_GRANT}.",
    "invalid_grant": "This token or code does not count, or not any more: sign in again.",
    "authorization_pending": "The person has not said yes yet; ask again after `interval` seconds.",
    "slow_down": "Ask every 5 seconds at most.",
    "access_denied": "The person said no.",
    "expired_token": "The code has run out: begin again.",
}
CSP_FORM = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


class TokenForm(BaseModel):
    """For OpenAPI: what POST /auth/token takes, as a form."""

    grant_type: Literal["refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
    refresh_token: str | None = None
    device_code: str | None = None
    client_id: str | None = None


class TokenBody(BaseModel):
    """An access token, and the refresh token that takes the old one's place."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="Seconds")
    refresh_token: str


class DeviceForm(BaseModel):
    """For OpenAPI: what POST /auth/device takes, as a form."""

    client_id: str = Field(max_length=60, description="What the program calls itself; its person sees it")


class DeviceBody(BaseModel):
    """RFC 8628, 3.2."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class Refused(Problem):
    """400, with OAuth's word for it."""

    def __init__(self, error: str) -> None:
        super().__init__(400, error.replace("_", "-"), detail=_ERRORS[error])
        self.error = error

    def body(self) -> dict[str, object]:
        return {**super().body(), "error": self.error}


def _takes(model: type[BaseModel], example: dict[str, str]) -> dict[str, object]:
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {_FORM: {"schema": schema, "example": example}}}}


@router.post(
    "/auth/token",
    summary="A new access token, by a refresh token or a device code",
    response_model=TokenBody,
    responses=problems(404, 415, 422, 429),
    openapi_extra=_takes(TokenForm, {"grant_type": "refresh_token", "refresh_token": "r"}),
)
async def token(request: Request, edge: TheEdge) -> Response:
    """A refresh token counts once: one that comes again ends the session, for whoever has it.

    Where the answer was lost it may be sent again within a minute, as long as nobody has used what that answer held.
    """
    from connectors.postgres.accounts import Gone
    from serving.auth.devices import Denied, NotYet, Unknown
    from serving.auth.sessions import AWAY, SessionEnded, SessionsAway
    from serving.auth.signing_keys import LASTS_S

    sign_in = sign_in_of(edge)
    form = await form_body(request)
    await limit(edge, request, "token", times=4)
    kind = form.get("grant_type")
    if kind not in ("refresh_token", DEVICE_GRANT):
        raise Refused("invalid_request" if kind is None else "unsupported_grant_type")
    given = form.get("refresh_token" if kind == "refresh_token" else "device_code", "")
    if not given:
        raise Refused("invalid_request")
    try:
        # Before anything is used up: who gets no token asks again with what they have.
        key = await sign_in.signing_keys.signer()
        if kind == "refresh_token":
            session, refresh_token = await sign_in.sessions.refreshed(given)
        else:
            session, refresh_token = await sign_in.devices.session(given)
    except NotYet as error:
        raise Refused("slow_down" if error.too_soon else "authorization_pending") from None
    except Denied:
        raise Refused("access_denied") from None
    except Unknown:
        raise Refused("expired_token") from None
    except (SessionEnded, Gone):
        raise Refused("invalid_grant") from None
    except (SessionsAway, *AWAY):
        raise unavailable("sessions", detail="No token can be had now; try again.") from None
    body = TokenBody(
        access_token=sign_in.signing_keys.mint(session.who, key),
        token_type="Bearer",  # noqa: S106 - its kind
        expires_in=LASTS_S,
        refresh_token=refresh_token,
    )
    return Response(body.model_dump_json(), media_type="application/json", headers={"cache-control": "no-store"})


@router.post(
    "/auth/device",
    summary="Ask for a person's leave, from where there is no browser",
    response_model=DeviceBody,
    responses=problems(404, 415, 422, 429),
    openapi_extra=_takes(DeviceForm, {"client_id": "oo"}),
)
async def device(request: Request, edge: TheEdge) -> Response:
    """The person types `user_code` at `verification_uri`; meanwhile ask POST /auth/token every `interval` seconds."""
    from connectors.tickets import UNDER_WAY_S
    from connectors.valkey import Unreachable
    from serving.auth.devices import INTERVAL_S

    sign_in = sign_in_of(edge)
    form = await form_body(request)
    await limit(edge, request, "device")
    name = form.get("client_id", "")
    if NAME.fullmatch(name) is None:
        raise Refused("invalid_request")
    try:
        asked = await sign_in.devices.ask(name)
    except Unreachable:
        raise unavailable("sign-in", detail="Nobody can sign in now; try again.") from None
    where = f"{sign_in.public_url}/auth/device/confirm"
    body = DeviceBody(
        device_code=asked.device_code,
        user_code=asked.user_code,
        verification_uri=where,
        verification_uri_complete=f"{where}?user_code={asked.user_code}",
        expires_in=UNDER_WAY_S,
        interval=INTERVAL_S,
    )
    return Response(body.model_dump_json(), media_type="application/json", headers={"cache-control": "no-store"})


@router.get("/auth/device/confirm", include_in_schema=False)
async def confirm_page(
    request: Request, edge: TheEdge, user_code: Annotated[str, Query(max_length=32)] = ""
) -> Response:
    from connectors.valkey import Unreachable
    from serving.auth.devices import Unknown

    sign_in = sign_in_of(edge)
    await limit(edge, request, "user-code")
    if await session_or_none(request, edge) is None:
        back = quote(f"/auth/device/confirm?user_code={quote(user_code)}")
        ways = "".join(
            f'<p><a href="/auth/login/{name}?next={back}">{escape(one.settings.name)}</a></p>'
            for name, one in sign_in.providers.items()
        )
        return _page("Sign in first", ways)
    code = f'<input name="user_code" value="{escape(user_code)}" autocomplete="off" aria-label="Code" required>'
    if not user_code:
        form = f'<form method="get" action="/auth/device/confirm"><p>{code}</p><p><button>Go on</button></p></form>'
        return _page("Which code does it show?", form)
    try:
        name = await sign_in.devices.named(user_code)
    except Unknown:
        return _page("No such code", "<p>It has run out, was used, or was mistyped: begin again.</p>", status=404)
    except Unreachable:
        raise unavailable("sign-in", detail="Nobody can sign in now; try again.") from None
    return _page(
        f"Does “{escape(name)}” ask you, with the code {escape(user_code)}?",
        "<p>It will be able to do here whatever you can. Allow it only if you have just begun this yourself, and it shows this code.</p>"
        f'<form method="post" action="/auth/device/confirm"><input type="hidden" name="user_code" value="{escape(user_code)}">'
        '<p><button name="answer" value="allow">Allow</button> <button name="answer" value="deny">No</button></p></form>',
    )


@router.post("/auth/device/confirm", include_in_schema=False)
async def confirm(request: Request, edge: TheEdge) -> Response:
    from connectors.valkey import Unreachable
    from serving.auth.devices import Unknown

    sign_in = sign_in_of(edge)
    await limit(edge, request, "user-code")
    if not from_our_own_page(request):
        raise Problem(403, "foreign-origin", detail="Only a page of ours may answer this.")
    form = await form_body(request)
    session = await session_or_none(request, edge)
    if session is None:
        raise Problem(401, "no-session", detail="Sign in first.")
    try:
        allow = form.get("answer") == "allow"
        name = await sign_in.devices.answer(form.get("user_code", ""), by=session, allow=allow)
    except Unknown:
        return _page("No such code", "<p>It has run out, was used, or was mistyped: begin again.</p>", status=404)
    except Unreachable:
        raise unavailable("sign-in", detail="Nobody can sign in now; try again.") from None
    return _page(f"“{escape(name)}” is signed in" if allow else "It is not let in", "<p>You may close this page.</p>")


@router.get("/.well-known/jwks.json", include_in_schema=False)
async def jwks(edge: TheEdge) -> Response:
    """The keys of access tokens that are made here."""
    if edge.sign_in is not None:
        from serving.auth.sessions import AWAY

        try:
            document = await edge.sign_in.signing_keys.jwks()
        except AWAY:
            raise unavailable("keys", detail="The keys cannot be read now; try again.") from None
    elif edge.local is not None:
        document = edge.local.jwks()
    else:
        raise Problem(404, "not-found", detail="This edge is no issuer.")
    return Response(document, media_type="application/json", headers={"cache-control": "public, max-age=60"})


def _page(title: str, body: str, *, status: int = 200) -> Response:
    """`title` and `body` are HTML."""
    whole = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>oO</title><main><h1>{title}</h1>{body}</main></html>"
    )
    headers = {"content-security-policy": CSP_FORM, "cache-control": "no-store"}
    return Response(whole, status_code=status, media_type="text/html; charset=utf-8", headers=headers)

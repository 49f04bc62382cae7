"""/v1/devices: where a person is told of tips while they do not look. Addresses are kept sealed and shown to nobody, their owner included."""

from __future__ import annotations

import base64
import re
import secrets
from html import escape
from typing import Annotated, Any, Literal, cast

from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.postgres.notifier import Known
from oo.v1.device_pb2 import Device
from serving.devices import AWAY, away, devices_of, keep, opened, telling_of
from serving.edge import TheEdge
from serving.identity import Who
from serving.json_body import json_body
from serving.problems import Fault, Problem, invalid_body, invalid_request
from serving.routes.answers import problems
from serving.schemas import iso

router = APIRouter(tags=["devices"])

BODY_BYTES_MAX = 8192
HEADERS = {"cache-control": "private, no-store", "vary": "Authorization, Cookie"}
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_WORD = Annotated[str, Query(max_length=1024, description="As the link in the mail has it")]
ChannelName = Literal["web_push", "email", "webhook", "apprise"]


class KeyBody(BaseModel):
    key: str = Field(description="For `PushManager.subscribe`, as `applicationServerKey`: base64url")


class PushKeys(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    p256dh: str = Field(max_length=128, description="base64url")
    auth: str = Field(max_length=64, description="base64url")


class DeviceAsked(BaseModel):
    """One of: what a browser's `PushSubscription.toJSON()` gives, an address for mail, a webhook, or a service of apprise's."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(default="", max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", examples=["My phone"])
    endpoint: str | None = Field(default=None, max_length=2048, pattern=r"^https?://[!-~]+$")
    keys: PushKeys | None = None
    expirationTime: float | None = Field(default=None, description="Of a browser; nothing is made of it")  # noqa: N815
    email: str | None = Field(default=None, max_length=254)
    webhook: str | None = Field(default=None, max_length=2048, pattern=r"^https?://[!-~]+$")
    apprise: str | None = Field(default=None, max_length=2048, pattern=r"^[a-z0-9]+://[!-~]+$")


class DeviceKnown(BaseModel):
    device_id: str
    channel: ChannelName
    name: str
    made_at: str
    confirmed: bool = Field(description="Mail goes to an address once its owner has said that it is theirs")


class DeviceMade(DeviceKnown):
    secret: str | None = Field(
        default=None, description="Of a webhook, shown this once: what its messages are signed with (Standard Webhooks)"
    )


class DevicesBody(BaseModel):
    """The oldest first; 20 at most."""

    devices: list[DeviceKnown]


@router.get("/v1/devices/key", summary="The key of pushes", response_model=KeyBody, responses=problems(401, 403, 404))
async def key(who: Who, edge: TheEdge) -> Response:
    """404 where nobody is told."""
    body = KeyBody(key=telling_of(edge).public_key)
    return Response(body.model_dump_json(), media_type="application/json", headers=HEADERS)


@router.get(
    "/v1/devices", summary="Where I am told of tips", response_model=DevicesBody, responses=problems(401, 403, 404)
)
async def read(who: Who, edge: TheEdge) -> Response:
    """404 where nobody is told."""
    telling_of(edge)
    edge.departed.check(who.pseudonym)
    found = [_shown(one, (await opened(edge, one)).name, DeviceKnown) for one in await devices_of(edge, who.pseudonym)]
    return Response(DevicesBody(devices=found).model_dump_json(), media_type="application/json", headers=HEADERS)


@router.post(
    "/v1/devices",
    summary="Tell me here, too",
    status_code=201,
    response_model=DeviceMade,
    responses=problems(401, 403, 404, 409, 415, 422, 429),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{DeviceAsked.__name__}"},
                    "examples": {
                        "push": {
                            "value": {
                                "name": "My phone",
                                "endpoint": "https://push.example/send/abc",
                                "keys": {
                                    "p256dh": "BMtr4r2-GzWqT-d4e2rC1YjIYZvKn3F5U5x8sO0eB9sU7pJ8S1u5mJk0hVwT3bJ8o0mJ6b6n0vBdfq1F6E9m1wY",
                                    "auth": "ESIzRFVmd4iZqrvM3e7_AA",
                                },
                            }
                        },
                        "mail": {"value": {"email": "ada@example.com"}},
                    },
                }
            },
        }
    },
)
async def add(request: Request, who: Who, edge: TheEdge) -> Response:
    """The same address again is the same device. Nothing is sent before the person has granted it (`PATCH /v1/me`).

    A browser's subscription ends with the session that made it. Whose address for mail it is, is asked by mail: 429 where that was too often today.
    """
    try:
        asked = DeviceAsked.model_validate(await json_body(request, bytes_max=BODY_BYTES_MAX))
    except ValidationError as error:
        raise invalid_body(error) from None
    telling_of(edge)
    edge.departed.check(who.pseudonym)
    device, address = _device(asked, user_id=who.user_id)
    if device.HasField("webhook"):
        device.webhook.secret = secrets.token_bytes(24)
    known = await keep(edge, who, device, address=address)
    made = _shown(known, device.name, DeviceMade)
    if device.HasField("webhook"):
        made.secret = f"whsec_{base64.b64encode(device.webhook.secret).decode()}"
    return Response(made.model_dump_json(), status_code=201, media_type="application/json", headers=HEADERS)


_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "A page for people", "content": {"text/html": {"schema": {"type": "string"}}}}
}


@router.get(
    "/v1/devices/confirm",
    summary="Asks whether an address is mine",
    response_class=Response,
    responses={**_PAGE, **problems(403, 404, 422)},
    openapi_extra={"security": []},
)
async def ask(edge: TheEdge, word: _WORD) -> Response:
    """Changes nothing: what opens links by itself confirms nothing."""
    telling_of(edge).read_word(word, "confirm", now_ms=edge.now_ms())
    return button("This is my address / Das ist meine Adresse", f"/v1/devices/confirm?word={word}")


@router.post(
    "/v1/devices/confirm",
    summary="The address is mine",
    response_class=Response,
    responses={**_PAGE, **problems(403, 404, 422)},
    openapi_extra={"security": []},
)
async def confirm(edge: TheEdge, word: _WORD) -> Response:
    """404 where it is not here any more."""
    telling = telling_of(edge)
    device_id = telling.read_word(word, "confirm", now_ms=edge.now_ms())
    try:
        done = await telling.store.confirm(device_id, now_ms=edge.now_ms())
    except AWAY:
        raise away() from None
    if not done:
        raise Problem(404, "unknown-device", detail="This address is not here any more.")
    return said("Thank you. / Danke.")


# Behind the others: an address of theirs is not one of a device.
@router.delete(
    "/v1/devices/{device_id}",
    summary="Not here any more",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404, 422),
)
async def remove(
    who: Who, edge: TheEdge, device_id: Annotated[str, Path(max_length=64, description="Of GET /v1/devices")]
) -> Response:
    """404 for one that is not this person's."""
    telling = telling_of(edge)
    try:
        gone = await telling.store.remove(device_id.replace("\x00", ""), user_id=who.pseudonym)
    except AWAY:
        raise away() from None
    if not gone:
        raise Problem(404, "unknown-device", detail="There is no such device of yours; GET /v1/devices lists them.")
    return Response(status_code=204)


def button(text: str, action: str) -> Response:
    """A page with one button."""
    return said(f'<form method="post" action="{escape(action)}"><button>{escape(text)}</button></form>')


def said(body: str) -> Response:
    """A page with this."""
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>oO</title><body>{body}</body></html>'
    return Response(page, media_type="text/html", headers={"cache-control": "no-store"})


def _device(asked: DeviceAsked, *, user_id: str) -> tuple[Device, str]:
    """What is kept, and its address. Raises a 422 problem."""
    made = Device(name=asked.name, user_id=user_id)
    named = [name for name in ("endpoint", "email", "webhook", "apprise") if getattr(asked, name) is not None]
    if len(named) != 1 or (asked.endpoint is None) != (asked.keys is None):
        detail = "name one of endpoint (with keys), email, webhook and apprise"
        raise invalid_request([Fault(pointer="", detail=detail)])
    (name,) = named
    address: str = getattr(asked, name)
    if asked.keys is not None:
        made.web_push.endpoint = address
        made.web_push.p256dh, made.web_push.auth = _point(asked.keys.p256dh), _raw(asked.keys.auth, "auth", 16)
    elif name == "email":
        if not _MAIL.fullmatch(address):
            raise invalid_request([Fault(pointer="/email", detail="is no address for mail")])
        made.email.address = address
    elif name == "webhook":
        made.webhook.url = address
    else:
        made.apprise.url = address
    return made, address


def _point(text: str) -> bytes:
    raw = _raw(text, "p256dh", 65)
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    except ValueError:
        raise invalid_request([Fault(pointer="/keys/p256dh", detail="is no point of P-256")]) from None
    return raw


def _raw(text: str, name: str, length: int) -> bytes:
    try:
        raw = base64.b64decode(f"{text.rstrip('=')}{'=' * (-len(text.rstrip('=')) % 4)}", altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != length:
        raise invalid_request([Fault(pointer=f"/keys/{name}", detail=f"is not {length} bytes in base64url")])
    return raw


def _shown(known: Known, name: str, kind: type[DeviceKnown]) -> Any:
    return kind.model_construct(
        device_id=known.device_id,
        channel=cast("ChannelName", known.channel),
        name=name,
        made_at=iso(known.made_ms),
        confirmed=known.confirmed_ms is not None,
    )

"""What a person connects: which sources there are, which connections stand, making, pausing, mending and taking one back.

It reads no source: `connect` does (agents/connect.py), which is told at once. A secret that came in goes out to nobody but its source.
"""

from __future__ import annotations

import json
import logging
import secrets
from typing import Annotated, Literal, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, Field, ValidationError

from connectors.oauth import oauth_of
from connectors.postgres.connections import MOST, Connection, LogEntry, Pending, Unreachable
from connectors.sources.source import Connect, Failed, FaultKind, Source, WritesBack
from connectors.vault import NotOpened, Wrapped
from serving import connecting
from serving.connecting import Connecting, Said
from serving.edge import Edge, TheEdge
from serving.identity import Who, identity
from serving.json_body import json_body
from serving.problems import Fault, Problem, invalid_body, invalid_request, unavailable
from serving.routes.answers import problems
from serving.routes.me import standing_of
from serving.schemas import ConnectionChange, NewConnection, iso
from serving.tokens import Identity
from streams.keys import KekGone
from streams.units import MINUTE_MS

log = logging.getLogger(__name__)
router = APIRouter(tags=["connections"])

BODY_BYTES_MAX = 32 * 1024
SIGN_IN_MS = 15 * MINUTE_MS
"""How long a sign-in at a service may take."""
_AWAY = (*Unreachable, KekGone, NotOpened)
_STATE = {"active": "active", "paused": "paused", "broken": "broken", "leaving": "leaving"}
ConnectionId = Annotated[str, InPath(pattern=r"^[0-9a-f]{1,32}$")]
SourceName = Annotated[str, InPath(pattern=r"^[a-z0-9_.-]{1,32}$")]


class FieldBody(BaseModel):
    """What a form asks for."""

    name: str
    label: str
    kind: str = Field(description="text, url, path or password: what an input is")
    secret: bool = Field(description="It is never shown again")
    required: bool


class WayBody(BaseModel):
    """One way to connect."""

    way: str = Field(description="file, url, basic, token, oauth or hook")
    fields: list[FieldBody]
    authorize: str | None = Field(description="With oauth: where a browser goes")


class SourceInfo(BaseModel):
    """What may be connected."""

    name: str
    title: str
    gives: list[str] = Field(description="tasks, events, activity")
    ways: list[WayBody] = Field(description="Empty where this oO is not set up for it")
    writes_back: bool = Field(description="Whether done on a tip completes the task there")


class SourcesBody(BaseModel):
    sources: list[SourceInfo]


class ConnectionBody(BaseModel):
    """One connection. Its credentials are not in it."""

    connection_id: str
    source: str
    title: str
    state: Literal["active", "paused", "broken", "leaving", "withheld"] = Field(
        description="broken: only you can mend it, `trouble` says how; leaving: what it told is being taken back; withheld: you have withdrawn "
        "this source's consent"
    )
    trouble: str = Field(description="A fixed word, or empty")
    settings: dict[str, str]
    writes_back: bool
    created_at: str
    read_at: str | None = Field(description="When it was last read whole")
    next_at: str | None
    authorize: str | None = Field(description="Where a browser goes to mend it by signing in there again")


class Made(ConnectionBody):
    """One that was just made."""

    secrets: dict[str, str] = Field(description="What was made for you: it is shown this once")
    hook: str | None = Field(description="With hook: where to post to")


class ConnectionsBody(BaseModel):
    """The oldest first; 50 at most."""

    connections: list[ConnectionBody]


class HappenedBody(BaseModel):
    """Something that happened with a connection."""

    at: str
    what: str = Field(description="read, write-back or trouble")
    result: str = Field(
        description="read: told. write-back: done, conflict, missing, unable, again, failed. trouble: what it is, or over"
    )
    number: int = Field(description="Of read: signals told")
    decision_id: str | None = Field(description="Of write-back: the tip that was done")


class Whole(ConnectionBody):
    """One with what happened, the newest first; 50 at most."""

    log: list[HappenedBody]


class Anew(NamedTuple):
    """What is kept of a connection instead of before; None: as it was."""

    service: str | None = None
    settings: bytes | None = None
    credentials: bytes | None = None


@router.get(
    "/v1/sources", summary="What may be connected", response_model=SourcesBody, responses=problems(401, 403, 404)
)
async def sources(who: Who, edge: TheEdge) -> Response:
    """In the order in which they are shown."""
    parts = _parts(edge)
    body = SourcesBody(sources=[_source_body(parts, one) for one in parts.sources.values()])
    return _json(body)


@router.get(
    "/v1/connections", summary="What is connected", response_model=ConnectionsBody, responses=problems(401, 403, 404)
)
async def read_all(who: Who, edge: TheEdge) -> Response:
    """Also those that are being taken back."""
    parts = _parts(edge)
    edge.departed.check(who.pseudonym)
    try:
        found = await parts.connections.of(who.pseudonym)
        withheld = await parts.connections.withheld(who.pseudonym)
        body = ConnectionsBody(connections=[_body(parts, one, withheld) for one in found])
    except _AWAY as error:
        raise _away(error) from None
    return _json(body)


@router.post(
    "/v1/connections",
    summary="Connect a source",
    status_code=201,
    response_model=Made,
    responses=problems(401, 403, 404, 409, 413, 415, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{NewConnection.__name__}"},
                    "examples": {
                        "calendar": {"value": {"source": "webcal", "fields": {"url": "https://example.org/a.ics"}}}
                    },
                }
            },
        }
    },
)
async def make(request: Request, who: Who, edge: TheEdge) -> Response:
    """It is read at once. OAuth is not connected so, but with a browser at `authorize`."""
    parts = _parts(edge)
    try:
        asked = NewConnection.model_validate(await json_body(request, bytes_max=BODY_BYTES_MAX))
    except ValidationError as error:
        raise invalid_body(error) from None
    edge.departed.check(who.pseudonym)
    source = parts.sources.get(asked.source)
    if source is None:
        raise invalid_request([Fault(pointer="/source", detail="there is no such source: GET /v1/sources has all")])
    way = parts.way(source, asked.way)
    if way is None or way.connect is Connect.OAUTH:
        raise invalid_request([Fault(pointer="/way", detail="cannot be connected so: GET /v1/sources says how")])
    said, faults = connecting.filled(way, asked.fields)
    if faults:
        raise invalid_request(faults)
    one = await _add(edge, parts, who, source, said, host=connecting.host_of(way, said))
    made = {field.name: said.credentials[field.name] for field in way.fields if field.generated and field.secret}
    hook = f"{parts.public_url}/v1/hooks/{one.connection_id}" if way.connect is Connect.HOOK else None
    body = Made(**_body(parts, one, ()).model_dump(), secrets=made, hook=hook)
    return _json(body, status=201, headers={"location": f"/v1/connections/{one.connection_id}"})


@router.get(
    "/v1/connections/{connection_id}",
    summary="One connection, with what happened",
    response_model=Whole,
    responses=problems(401, 403, 404, 422),
)
async def read(connection_id: ConnectionId, who: Who, edge: TheEdge) -> Response:
    """404 for another's."""
    parts = _parts(edge)
    edge.departed.check(who.pseudonym)
    try:
        one = await _one(parts, connection_id, who)
        happened = await parts.connections.log(connection_id)
        withheld = await parts.connections.withheld(who.pseudonym)
        body = Whole(**_body(parts, one, withheld).model_dump(), log=[_happened(entry) for entry in happened])
    except _AWAY as error:
        raise _away(error) from None
    return _json(body)


@router.patch(
    "/v1/connections/{connection_id}",
    summary="Pause, go on, or mend",
    response_model=ConnectionBody,
    responses=problems(401, 403, 404, 413, 415, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{ConnectionChange.__name__}"},
                    "examples": {"pause": {"value": {"paused": True}}},
                }
            },
        }
    },
)
async def change(request: Request, connection_id: ConnectionId, who: Who, edge: TheEdge) -> Response:
    """A field that is not named stays as it was."""
    parts = _parts(edge)
    try:
        asked = ConnectionChange.model_validate(await json_body(request, bytes_max=BODY_BYTES_MAX))
    except ValidationError as error:
        raise invalid_body(error) from None
    if asked.paused is None and not asked.fields:
        raise invalid_request([Fault(pointer="", detail="names nothing that is to be different")])
    edge.departed.check(who.pseudonym)
    try:
        one = await _one(parts, connection_id, who)
        anew = Anew() if not asked.fields else _mended(edge, parts, one, asked.fields)
        if not await parts.connections.change(
            connection_id, user_id=who.pseudonym, paused=asked.paused, **anew._asdict()
        ):
            raise _unknown()
        body = _body(parts, await _one(parts, connection_id, who), await parts.connections.withheld(who.pseudonym))
    except _AWAY as error:
        raise _away(error) from None
    return _json(body)


@router.delete(
    "/v1/connections/{connection_id}",
    summary="Disconnect",
    status_code=202,
    response_class=Response,
    responses=problems(401, 403, 404, 422),
)
async def leave(connection_id: ConnectionId, who: Who, edge: TheEdge) -> Response:
    """What it told is taken back, then its credentials, its place and itself are deleted."""
    parts = _parts(edge)
    try:
        if not await parts.connections.leave(connection_id, user_id=who.pseudonym):
            raise _unknown()
    except _AWAY as error:
        raise _away(error) from None
    return Response(status_code=202)


@router.post(
    "/v1/connections/{connection_id}/sync",
    summary="Read it now",
    status_code=202,
    response_class=Response,
    responses=problems(401, 403, 404, 409, 422),
)
async def sync(connection_id: ConnectionId, who: Who, edge: TheEdge) -> Response:
    """Unless its service has asked for patience."""
    parts = _parts(edge)
    edge.departed.check(who.pseudonym)
    try:
        one = await _one(parts, connection_id, who)
        if not await parts.connections.sync(connection_id, user_id=who.pseudonym):
            raise Problem(409, "not-active", detail=f"It is {one.state}, and is not read.")
    except _AWAY as error:
        raise _away(error) from None
    return Response(status_code=202)


@router.get(
    "/v1/connections/{source}/authorize",
    summary="Connect by signing in there",
    status_code=302,
    responses=problems(401, 403, 404, 422),
)
async def authorize(
    request: Request,
    source: SourceName,
    who: Who,
    edge: TheEdge,
    connection: Annotated[
        str,
        Query(pattern=r"^[0-9a-f]{0,32}$", description="The one that is to have what comes; else a new one is made"),
    ] = "",
) -> Response:
    """For a browser: it goes to the service, and comes back to `callback`."""
    parts = _parts(edge)
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Problem(403, "foreign-origin", detail="Another page asked for this.")
    edge.departed.check(who.pseudonym)
    _oauth_source(parts, source)
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    mac = edge.mac("authorization", state)
    box = parts.vault.make(user_id=who.pseudonym, connection_id=mac)
    sealed = box.seal("authorization", json.dumps({"verifier": verifier, "connection": connection}).encode())
    pending = Pending(who.pseudonym, source, box.wrapped.kek_id, box.wrapped.key, sealed)
    try:
        if connection and (await _one(parts, connection, who)).source != source:
            raise _unknown()
        if not await parts.connections.begin(mac, pending, expires_ms=edge.now_ms() + SIGN_IN_MS):
            raise _left()
    except _AWAY as error:
        raise _away(error) from None
    there = parts.clients.authorize_url(source, state=state, verifier=verifier, redirect_uri=parts.redirect_uri(source))
    return Response(status_code=302, headers={"location": there, "cache-control": "no-store"})


@router.get(
    "/v1/connections/{source}/callback",
    summary="Back from there",
    status_code=303,
    responses=problems(400, 401, 403, 404, 422),
)
async def callback(
    request: Request,
    source: SourceName,
    edge: TheEdge,
    state: Annotated[str, Query(max_length=256)] = "",
    code: Annotated[str, Query(max_length=4096)] = "",
    error: Annotated[str, Query(max_length=256)] = "",
    again: Annotated[str, Query(max_length=1)] = "",
) -> Response:
    """Counts once, for the person who began it, in whichever browser they are signed in."""
    parts = _parts(edge)
    if not again and edge.cookie not in request.cookies and "authorization" not in request.headers:
        # A strict cookie does not come with a navigation from elsewhere: from our own answer it does.
        return _once_more(source, state, code, error)
    who = await identity(request)
    edge.departed.check(who.pseudonym)
    found = _oauth_source(parts, source)
    mac = edge.mac("authorization", state)
    try:
        pending = await parts.connections.finish(mac, user_id=who.pseudonym, source=source)
        if pending is None:
            detail = "This sign-in was not begun by you, is over, or was finished before: begin again."
            raise Problem(400, "unknown-state", detail=detail)
        box = parts.vault.open(Wrapped(pending.kek_id, pending.wrapped_key), user_id=pending.user_id, connection_id=mac)
        kept = json.loads(box.open("authorization", pending.sealed))
    except _AWAY as away:
        raise _away(away) from None
    if error or not code:
        return _back("refused" if error == "access_denied" else "failed")
    try:
        credentials = await parts.clients.exchange(
            source, code=code, verifier=kept["verifier"], redirect_uri=parts.redirect_uri(source)
        )
    except Failed as failed:
        log.warning("authorization.failed source=%s kind=%s detail=%s", source, failed.fault.kind, failed.fault.detail)
        return _back("refused" if failed.fault.kind is FaultKind.TOKEN_REVOKED else "failed")
    if connection_id := kept.get("connection"):
        await _give(parts, connection_id, who, credentials)
        return _back("connected", connection_id)
    one = await _add(edge, parts, who, found, Said({}, credentials), host="")
    return _back("connected", one.connection_id)


def _parts(edge: Edge) -> Connecting:
    if edge.connecting is None:
        detail = "Nothing can be connected here: 'oo up --people' starts what it needs, or set OO_CONNECTIONS_DSN and OO_VAULT_DIR."
        raise Problem(404, "no-connections", detail=detail)
    return edge.connecting


async def _one(parts: Connecting, connection_id: str, who: Identity) -> Connection:
    one = await parts.connections.one(connection_id, user_id=who.pseudonym)
    if one is None:
        raise _unknown()
    return one


async def _add(edge: Edge, parts: Connecting, who: Identity, source: Source, said: Said, *, host: str) -> Connection:
    standing = await standing_of(edge, who.pseudonym)
    name = source.description.name
    # Where many live behind one address they share its patience; which address it is nobody reads here.
    service = f"{name}:{edge.mac('service', host.lower())[:12]}" if host else name
    new = parts.new(
        source.description,
        user_id=who.user_id,
        pseudonym=who.pseudonym,
        said=said,
        zone="" if standing is None else standing.time_zone,
        service=service,
    )
    try:
        added = await parts.connections.add(new)
        if added == "gone":
            raise _left()
        if added == "too-many":
            raise Problem(409, "too-many-connections", detail=f"You have {MOST} connections: take one back first.")
        one = await parts.connections.one(new.connection_id, user_id=who.pseudonym)
    except _AWAY as error:
        raise _away(error) from None
    if one is None:
        raise _unknown()
    return one


async def _give(parts: Connecting, connection_id: str, who: Identity, credentials: dict[str, str]) -> None:
    """Put what a sign-in brought in the place of what opened it no more; what was read of it stays known."""
    try:
        box = parts.box(await _one(parts, connection_id, who))
        sealed = connecting.sealed_credentials(box, credentials)
        if not await parts.connections.change(connection_id, user_id=who.pseudonym, credentials=sealed):
            raise _unknown()
    except _AWAY as error:
        raise _away(error) from None


def _mended(edge: Edge, parts: Connecting, one: Connection, fields: dict[str, str]) -> Anew:
    """What is to be kept instead. Raises a 422 problem."""
    source = parts.sources.get(one.source)
    if source is None:
        raise _unknown()
    box = parts.box(one)
    user_id, settings = connecting.settings_in(box, one)
    before = Said(settings, connecting.credentials_in(box, one))
    known = settings.keys() | before.credentials.keys()
    ways = [way for way in parts.ways(source) if {field.name for field in way.fields if field.required} <= known]
    if not ways or ways[0].connect is Connect.OAUTH:
        raise invalid_request([Fault(pointer="/fields", detail="this one is mended by signing in there again")])
    said, faults = connecting.filled(ways[0], fields, before=before)
    if faults:
        raise invalid_request(faults)
    host = connecting.host_of(ways[0], said)
    service = f"{one.source}:{edge.mac('service', host.lower())[:12]}" if host else one.source
    return Anew(
        service,
        connecting.sealed_settings(box, user_id, said.settings),
        connecting.sealed_credentials(box, said.credentials),
    )


def _oauth_source(parts: Connecting, name: str) -> Source:
    source = parts.sources.get(name)
    if source is None or oauth_of(source) is None or name not in parts.clients:
        detail = "No source of this name is connected by signing in here: GET /v1/sources says how."
        raise Problem(404, "unknown-source", detail=detail)
    return source


def _source_body(parts: Connecting, source: Source) -> SourceInfo:
    said = source.description
    return SourceInfo(
        name=said.name,
        title=said.title,
        gives=[kind.value for kind in said.gives],
        ways=[
            WayBody(
                way=way.connect.value,
                fields=[
                    FieldBody(name=one.name, label=one.label, kind=one.kind, secret=one.secret, required=one.required)
                    for one in way.fields
                    if not one.generated
                ],
                authorize=f"/v1/connections/{said.name}/authorize" if way.connect is Connect.OAUTH else None,
            )
            for way in parts.ways(source)
        ],
        writes_back=said.writes_back and isinstance(source, WritesBack),
    )


def _body(parts: Connecting, one: Connection, withheld: list[str] | tuple[str, ...]) -> ConnectionBody:
    """Raises NotOpened."""
    source = parts.sources.get(one.source)
    state = one.state
    _, settings = connecting.settings_in(parts.box(one), one)
    is_withheld = state == "active" and not {one.source, f"{one.source}:{one.connection_id}"}.isdisjoint(withheld)
    return ConnectionBody(
        connection_id=one.connection_id,
        source=one.source,
        title=source.description.title if source else one.source,
        state="withheld" if is_withheld else state,
        trouble=one.trouble,
        settings=settings,
        writes_back=bool(source and source.description.writes_back),
        created_at=iso(one.created_ms),
        read_at=None if one.read_ms is None else iso(one.read_ms),
        next_at=iso(one.due_ms) if state == "active" and not is_withheld else None,
        authorize=f"/v1/connections/{one.source}/authorize?connection={one.connection_id}"
        if one.source in parts.clients and state != "leaving"
        else None,
    )


def _happened(entry: LogEntry) -> HappenedBody:
    return HappenedBody(
        at=iso(entry.at_ms),
        what=entry.what,
        result=entry.result,
        number=entry.number,
        decision_id=entry.decision_id or None,
    )


def _json(body: BaseModel, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        body.model_dump_json(),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store", **(headers or {})},
    )


def _back(what: str, connection_id: str = "") -> Response:
    where = f"/?connection={what}" + (f"&id={connection_id}" if connection_id else "")
    return Response(status_code=303, headers={"location": where, "cache-control": "no-store"})


def _once_more(source: str, state: str, code: str, error: str) -> Response:
    told = "&amp;".join(
        f"{name}={quote(value, safe='')}"
        for name, value in {"state": state, "code": code, "error": error, "again": "1"}.items()
    )
    page = f'<!doctype html><title>oO</title><meta http-equiv="refresh" content="0;url=/v1/connections/{source}/callback?{told}">'
    return Response(page, media_type="text/html", headers={"cache-control": "no-store"})


def _unknown() -> Problem:
    return Problem(404, "unknown-connection", detail="You have no such connection.")


def _left() -> Problem:
    return Problem(403, "left", detail="You have left. POST /v1/me begins again; until then nothing is taken.")


def _away(error: Exception) -> Problem:
    log.warning("connections.failed error=%s", type(error).__name__)
    return unavailable("connections", detail="Connections cannot be reached now; try again.")

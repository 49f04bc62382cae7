"""GET and PATCH /v1/me: what a person has set for themselves, and what their data may be used for.

What is shown is what the fold has put out (oo.settings, by way of Valkey); what is asked for goes to Kafka, and shows once it is folded.
It never decides whether a word counts: the fold does, by its place in the journal.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from typing import Annotated

import protovalidate
from confluent_kafka import KafkaException
from fastapi import APIRouter, Header, Request, Response
from pydantic import ValidationError

from connectors.valkey import Unreachable
from oo.v1 import settings_pb2, signal_pb2, subject_request_pb2
from serving.edge import Edge, TheEdge
from serving.identity import Who
from serving.json_body import json_body
from serving.log import LogUnavailable
from serving.problems import Fault, Problem, invalid_body, invalid_request, pointer, unavailable
from serving.routes.answers import problems
from serving.schemas import Me, MeAccepted, MeChange, PurposeBody, QuietHours, SourceBody, iso
from streams.keys import opened_by
from streams.sealing import KeyMissing, NotOpened
from tables import consents
from tables.message_rules import breaches
from tables.purposes import BY_NAME, PURPOSES
from tables.wall_clock import bits_of, clock, days_of

log = logging.getLogger(__name__)
router = APIRouter(tags=["me"])

SOURCE = "edge"
BODY_BYTES_MAX = 16 * 1024

_VALIDATOR = protovalidate.Validator()
_TEXTS = hashlib.sha256("\n".join(f"{one.name} {one.text_version}" for one in PURPOSES).encode()).hexdigest()[:8]
"""Names the texts that a person sees: who agrees to another one has to read again."""
_HEADERS = {"cache-control": "private, no-cache", "vary": "Authorization, Cookie"}
IfMatch = Annotated[
    str | None,
    Header(max_length=256, pattern=r"^[ -~]*$", description="The ETag of what was read; a grant needs it"),
]


@router.get("/v1/me", summary="What the person has set", response_model=Me, responses=problems(401, 403))
async def read(who: Who, edge: TheEdge) -> Response:
    """Somebody of whom nothing is known has the defaults."""
    edge.departed.check(who.pseudonym)
    standing = await standing_of(edge, who.pseudonym)
    return Response(
        _shown(standing, account=edge.mac("account", who.user_id)).model_dump_json(),
        media_type="application/json",
        headers=_HEADERS | _tag(standing),
    )


@router.patch(
    "/v1/me",
    summary="Set, grant, withdraw",
    status_code=202,
    response_model=MeAccepted,
    responses=problems(401, 403, 412, 415, 422, 428),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{MeChange.__name__}"},
                    "examples": {
                        "withdraw": {"value": {"purposes": {"calendar": {"granted": False}}}},
                        "set": {
                            "value": {"time_zone": "Europe/Berlin", "quiet_hours": {"start": "22:00", "end": "07:00"}}
                        },
                    },
                }
            },
        }
    },
)
async def change(request: Request, who: Who, edge: TheEdge, if_match: IfMatch = None) -> Response:
    """A withdrawal is always taken. A grant counts if no withdrawal has come since what `If-Match` names was read."""
    try:
        asked = MeChange.model_validate(await json_body(request, bytes_max=BODY_BYTES_MAX))
    except ValidationError as error:
        raise invalid_body(error) from None
    edge.departed.check(who.pseudonym)
    grants = any(one.granted for one in (*asked.purposes.values(), *asked.sources.values()))
    if grants and if_match in (None, "*"):
        detail = (
            "Read GET /v1/me, and send its ETag as If-Match: who grants something has to know of the last withdrawal."
        )
        raise Problem(428, "if-match-needed", detail=detail)
    standing = await standing_of(edge, who.pseudonym) if if_match is not None else None
    if if_match is not None and if_match.strip() not in ("*", _tag(standing)["etag"]):
        raise Problem(412, "changed", detail="This has changed since it was read; read it again.")
    words = _words(asked, standing, user_id=who.user_id)
    settings = _settings(asked, edge, user_id=who.user_id)
    if not words and settings is None:
        raise invalid_request([Fault(pointer="", detail="names nothing that is to be different")])
    try:
        if words:
            await edge.log.send("subject-requests", [(who.user_id, word) for word in words])
        if settings is not None:
            await edge.log.send("signals", [(who.user_id, settings)])
    except LogUnavailable:
        raise unavailable("log", detail="Kafka has not acknowledged all of it; send it again.") from None
    body = MeAccepted(accepted=len(words) + (settings is not None)).model_dump_json()
    return Response(body, status_code=202, media_type="application/json")


async def standing_of(edge: Edge, pseudonym: str) -> settings_pb2.Settings | None:
    try:
        found = await edge.tips.settings(pseudonym)
        return None if found is None else await opened_by(edge.people, found, whose=pseudonym.encode())
    except (*Unreachable, KeyMissing, NotOpened, KafkaException) as error:
        log.warning("settings.failed error=%s", type(error).__name__)
        raise unavailable("settings", detail="The settings cannot be read now; try again.") from None


def _tag(standing: settings_pb2.Settings | None) -> dict[str, str]:
    place = "none" if standing is None else f"{standing.journal.topic_id.hex()[:8]}-{standing.journal.offset}"
    return {"etag": f'"{place}-{_TEXTS}"'}


def _shown(standing: settings_pb2.Settings | None, *, account: str) -> Me:
    said = standing or settings_pb2.Settings()
    quiet = said.profile.quiet_hours
    return Me(
        account=account,
        time_zone=said.time_zone or None,
        quiet_hours=None
        if quiet.start_minute == quiet.end_minute
        else QuietHours.model_construct(
            start=clock(quiet.start_minute),
            end=clock(quiet.end_minute),
            days=days_of(quiet.weekdays),
        ),
        tips_per_hour=said.profile.tips_per_hour or None,
        tips_per_day=said.profile.tips_per_day or None,
        languages=list(said.profile.languages),
        notifications_per_day=said.profile.notifications_per_day or None,
        purposes={
            one.name: PurposeBody(
                granted=consents.grants(said.consents, one.number),
                since=iso(word.since_ms) if (word := consents.find(said.consents, purpose=one.number)) else None,
                text=one.text,
                text_version=one.text_version,
                basis=one.basis,
            )
            for one in PURPOSES
        },
        sources={
            one.source: SourceBody(granted=one.granted, since=iso(one.since_ms)) for one in said.consents if one.source
        },
    )


def _words(
    asked: MeChange, standing: settings_pb2.Settings | None, *, user_id: str
) -> list[subject_request_pb2.SubjectRequest]:
    """What is asked for of purposes and sources; what is withdrawn goes first."""
    known = () if standing is None else standing.consents
    said = [
        subject_request_pb2.ConsentChanged(
            purpose=BY_NAME[name].number, granted=one.granted, text_version=BY_NAME[name].text_version
        )
        for name, one in asked.purposes.items()
    ]
    said += [
        subject_request_pb2.ConsentChanged(source=source, granted=one.granted) for source, one in asked.sources.items()
    ]
    for one in said:
        consents.tell(one, known)
    return [
        subject_request_pb2.SubjectRequest(request_id=uuid.uuid4().hex, user_id=user_id, consent_changed=one)
        for one in sorted(said, key=lambda one: one.granted)
    ]


def _settings(asked: MeChange, edge: Edge, *, user_id: str) -> signal_pb2.Signal | None:
    """What is asked for of the rest, as a signal of the edge; raises a 422 problem for what the door would refuse."""
    changed = signal_pb2.ProfileChanged(time_zone=asked.time_zone)
    named = asked.model_fields_set
    if "quiet_hours" in named:
        quiet = asked.quiet_hours
        changed.quiet_hours.SetInParent()  # Two times that are equal: none.
        if quiet is not None:
            changed.quiet_hours.start_minute, changed.quiet_hours.end_minute = _minute(quiet.start), _minute(quiet.end)
            changed.quiet_hours.weekdays = bits_of(quiet.days)
    if "tips_per_hour" in named:
        changed.tips_per_hour = asked.tips_per_hour or 0
    if "tips_per_day" in named:
        changed.tips_per_day = asked.tips_per_day or 0
    changed.languages.extend(asked.languages)
    if "notifications_per_day" in named:
        changed.notifications_per_day = asked.notifications_per_day or 0
    if not changed.ListFields():
        return None
    signal = signal_pb2.Signal(
        event_id=f"me-{uuid.uuid4().hex}", user_id=user_id, source=SOURCE, profile_changed=changed
    )
    now_ms = edge.now_ms()
    signal.event_time.FromMilliseconds(now_ms)
    found = breaches(signal, validator=_VALIDATOR, event_time_ms=now_ms, now_ms=now_ms)
    if found:
        raise invalid_request([Fault(pointer=pointer(*one.path[1:]), detail=one.detail) for one in found])
    return signal


def _minute(text: str) -> int:
    """
    >>> _minute("07:30")
    450
    """
    return int(text[:2]) * 60 + int(text[3:])

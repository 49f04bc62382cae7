"""GET /v1/tips/stream: server-sent events, one for each new tip and one when there is none any more.

It never sends a tip that a read would not bring at that moment, and never waits for a client that does not read:
what it missed is one read away.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import StreamingResponse

from serving.edge import Edge, TheEdge
from serving.identity import Who, still_stands
from serving.memory import NEVER, Current
from serving.problems import Problem
from serving.routes.answers import problems
from serving.subscriptions import TooManyStreams
from serving.tokens import Identity

router = APIRouter(tags=["tips"])

RECONNECT_MS = 1_000
LOST_STORE_RETRY_S = 1.0


class EventStream(StreamingResponse):
    """Bytes that are already in the format of server-sent events."""

    media_type = "text/event-stream"


@router.get(
    "/v1/tips/stream",
    summary="Tips as they come",
    response_class=EventStream,
    responses={
        200: {
            "description": "`event: tip` with the JSON of GET /v1/tip, or `event: none`; `id:` resumes",
            "content": {
                "text/event-stream": {
                    # Of one event: so does OpenAPI 3.2 have it, and who reads 3.1 has no other way to say it.
                    "schema": {
                        "type": "object",
                        "description": "One event. Events are divided by an empty line; lines that begin with a colon"
                        " are signs of life. After an hour the stream ends, and is to be opened again.",
                        "properties": {
                            "event": {"type": "string", "enum": ["tip", "none"]},
                            "id": {"type": "string", "description": "Names the state; as `Last-Event-ID` it resumes"},
                            "data": {
                                "type": "string",
                                "description": "The body of GET /v1/tip on one line, or {}",
                                "contentMediaType": "application/json",
                                "contentSchema": {
                                    "anyOf": [{"$ref": "#/components/schemas/TipBody"}, {"maxProperties": 0}]
                                },
                            },
                        },
                        "required": ["event", "id", "data"],
                    },
                    "example": "retry: 1000\n\nid: 0-1\nevent: none\ndata: {}\n\n",
                }
            },
        },
        **problems(401, 422, 429, 503),
    },
)
async def stream(
    who: Who, edge: TheEdge, last_event_id: Annotated[str | None, Header(max_length=256, examples=["0-1"])] = None
) -> EventStream:
    """The current state comes at once, unless `Last-Event-ID` names it."""
    subscribed = contextlib.ExitStack()
    try:
        subscription = subscribed.enter_context(edge.subscriptions.subscribe(who.pseudonym))
    except TooManyStreams:
        raise Problem(
            429,
            "too-many-streams",
            detail="Close another stream first, or read GET /v1/tip.",
            headers={"retry-after": "5"},
        ) from None
    try:
        # A store that is away is an honest 503 now, not a stream that says nothing.
        first = await edge.current.of(who.pseudonym)
        if first.event_id == NEVER:
            first = await edge.newcomers.first(who)
    except BaseException:
        subscribed.close()
        raise
    whose = who.pseudonym.encode()
    # Their first tip comes right behind the word of its key.
    without_key = contextlib.ExitStack()
    if not edge.people.held(whose):
        without_key.enter_context(edge.people.awaited())

    async def events() -> AsyncIterator[bytes]:
        sent = last_event_id
        ends_ms = min(who.expires_s * 1000, edge.now_ms() + edge.stream_s_max * 1000)
        edge.metrics.streams.inc()
        try:
            yield f"retry: {RECONNECT_MS}\n\n".encode()
            now: Current | None = first
            while True:
                if edge.telling is not None:
                    await edge.here(who.pseudonym)
                if now is None:
                    yield b": the tip store is away\n\n"
                elif now.event_id != sent:
                    yield _event(now)
                    sent = now.event_id
                    if now.body is not None:
                        edge.metrics.pushed.inc()
                else:
                    yield b": still here\n\n"
                await subscription.wait(_patience_s(edge, ends_ms, now))
                if edge.subscriptions.closing or ends_ms <= edge.now_ms():
                    return
                if who.session is not None and not await still_stands(edge, who.session):
                    return
                now = await _look(edge, who)
                if edge.people.held(whose):
                    without_key.close()
        finally:
            subscribed.close()
            without_key.close()
            edge.metrics.streams.dec()
            if edge.telling is not None and not edge.subscriptions.has(who.pseudonym):
                edge.gone(who.pseudonym)

    return EventStream(events(), headers={"cache-control": "private, no-store", "x-accel-buffering": "no"})


async def _look(edge: Edge, who: Identity) -> Current | None:
    try:
        now = await edge.current.of(who.pseudonym)
    except Problem:
        return None
    if now.event_id == NEVER:
        edge.newcomers.tell(who)
    return now


def _patience_s(edge: Edge, ends_ms: float, now: Current | None) -> float:
    """Until the next look without a push: the tip runs out, the stream ends, or it is time for a sign of life."""
    if now is None:
        return LOST_STORE_RETRY_S
    if now.body is not None:
        ends_ms = min(ends_ms, now.valid_until_ms)
    return max(0.01, min(edge.heartbeat_s, (ends_ms - edge.now_ms()) / 1000 + 0.005))


def _event(now: Current) -> bytes:
    kind, body = (b"none", b"{}") if now.body is None else (b"tip", now.body)
    # JSON holds no raw line break, so one data line is enough.
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (now.event_id.encode(), kind, body)

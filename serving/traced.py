"""Spans of requests: one where the client's `traceparent` is sampled, or where the answer rests on a decision that is traced.

Installed only where something is traced. A tip was made before it was asked for, so its decision is linked: the request is in its client's
trace, or in one of its own. What a request sends to Kafka goes on in that trace.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.spans import Work
from connectors.traces import Traces
from streams.traceparent import HEADER

_HEADER = HEADER.encode()


@dataclass(slots=True)
class _Asked:
    """A request whose client did not forbid a span."""

    traces: Traces
    began_ns: int
    work: Work | None


_ASKED: ContextVar[_Asked | None] = ContextVar("asked", default=None)
"""That which is being answered; what it starts beside itself has it too."""


def rests_on(traceparent: bytes) -> None:
    """The answer to the present request rests on the decision with this span."""
    asked = _ASKED.get()
    if asked is None or (span := asked.traces.kept(traceparent)) is None:
        return
    if asked.work is None:
        asked.work = asked.traces.request(None, began_ns=asked.began_ns)
    asked.work.links.append(span)


def headers() -> Sequence[tuple[str, bytes]]:
    """For a Kafka record that the present request sends."""
    asked = _ASKED.get()
    return () if asked is None or asked.work is None else [(HEADER, asked.work.span.text.encode())]


class Traced:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, traces: Traces) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_ns = time.time_ns()
        said = [value for name, value in scope["headers"] if name == _HEADER]
        parent = self._traces.kept(said[0]) if len(said) == 1 else None
        if said and parent is None:
            await self._app(scope, receive, send)
            return
        asked = _Asked(self._traces, began_ns, None)
        if parent is not None:
            asked.work = self._traces.request(parent, began_ns=began_ns)
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        before = _ASKED.set(asked)
        try:
            await self._app(scope, receive, noted)
        finally:
            _ASKED.reset(before)
            if asked.work is not None:
                self._end(asked.work, scope, status)

    def _end(self, work: Work, scope: Scope, status: int) -> None:
        route, method = getattr(scope.get("route"), "path", "other"), scope["method"]
        work.name = f"{method} {route}"
        work.attributes = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
        }
        work.fault = "fault" if status >= 500 else ""
        self._traces.ended(work)

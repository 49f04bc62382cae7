"""uvicorn's HTTP/1.1 protocol with a bound on everything that comes before the app has a say.

It bounds what a peer may send before a request is whole, and for how long; answers what the parser refuses as a
problem; and never looks into a body. uvicorn bounds none of this with httptools (docs/adr/0028).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from serving.problems import CSP, SAFE_HEADERS, Problem

HEAD_BYTES_MAX = 32 * 1024
"""Request line and headers together; also trailers, and whatever else comes without a byte of body."""
HEADERS_MAX = 100
HEAD_TIMEOUT_S = 10.0
"""From a connection's opening, or the first byte of a later request, to the end of its headers."""
BODY_TIMEOUT_S = 30.0
"""From the end of the headers to the end of the body."""
IDLE_TIMEOUT_S = 15
"""Between requests."""
LINGER_S = 2.0
"""After a refusal, what the peer still sends is thrown away for so long: a close at once can cost it the answer."""
CONNECTIONS_MAX = 4_000
STOP_TIMEOUT_S = 5

_HEAD_TOO_LARGE = Problem(
    431,
    "head-too-large",
    detail=f"The request line and headers may have {HEAD_BYTES_MAX} bytes together, and {HEADERS_MAX} headers.",
)
_NO_HTTP = Problem(400, "no-http", detail="This is not an HTTP/1.1 request.")
_TOO_SLOW = Problem(
    408,
    "too-slow",
    detail=f"Headers may take {HEAD_TIMEOUT_S:g} s to come, and a body {BODY_TIMEOUT_S:g} s.",
)
_BUSY = Problem(503, "busy", detail="Too many connections are open; try again.", headers={"retry-after": "1"})


_LAST_WORDS = {**SAFE_HEADERS, "content-security-policy": CSP, "connection": "close"}


async def _busy(scope: Any, receive: Any, send: Any) -> None:
    response = _BUSY.response()
    response.headers.update(_LAST_WORDS)
    await response(scope, receive, send)


Phase = Literal["idle", "head", "body", "whole"]
"""Of the request that comes in; `whole` until the next one begins."""


_take_header = HttpToolsProtocol.on_header


class BoundedProtocol(HttpToolsProtocol):
    """One per connection."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._ready_app = self.app
        self._phase: Phase = "idle"
        self._request = 0
        # A head that came in one piece is within its bounds as that piece is.
        self._head_in_pieces = False
        # Since the last sign of progress: a request that begins, headers that end, a piece of body.
        self._idle_bytes = 0
        self._too_large = False
        self._refused = False
        self._deadline: asyncio.TimerHandle | None = None
        self._deadline_of: tuple[int, Phase] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        # uvicorn leaves this one running where the peer reset the connection.
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # In pieces, so that the parser never gathers much more than the bound before it is looked at again.
        for piece in (data,) if len(data) <= HEAD_BYTES_MAX else _cut(data):
            if self._refused or self.transport.is_closing():
                return
            if self._phase == "head":
                self._head_in_pieces = True
            self._idle_bytes += len(piece)
            super().data_received(piece)
            if self._idle_bytes > HEAD_BYTES_MAX and self._phase in ("head", "body") and not self._refused:
                self._refuse(_HEAD_TOO_LARGE)
        if self._refused:
            return
        if self._phase == "whole" and not self.cycle.response_complete:
            self._clear_deadline()
        elif self._deadline_of != (self._request, self._phase):
            self._set_deadline()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase = "head"
        self._request += 1
        self._head_in_pieces = False
        self._idle_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        # A trailer is dropped: nobody asked for one, and it must not pass for a header.
        if self._phase == "head":
            _take_header(self, name, value)

    def on_headers_complete(self) -> None:
        if len(self.headers) > HEADERS_MAX or (self._head_in_pieces and self._head_bytes() > HEAD_BYTES_MAX):
            self._too_large = True
            raise ValueError("too large a head")
        self._phase = "body"
        self._idle_bytes = 0
        self.app = self._ready_app if len(self.connections) <= CONNECTIONS_MAX else _busy
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._phase = "whole"
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(_HEAD_TOO_LARGE if self._too_large else _NO_HTTP)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)

    def _set_deadline(self) -> None:
        self._clear_deadline()
        self._deadline_of = (self._request, self._phase)
        wait_s = BODY_TIMEOUT_S if self._phase == "body" else HEAD_TIMEOUT_S
        self._deadline = self.loop.call_later(wait_s, self._late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = self._deadline_of = None

    def _late(self) -> None:
        if self._phase in ("head", "body"):
            self._refuse(_TOO_SLOW)
        else:
            # Who has asked nothing gets no answer.
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answer, where no answer has begun, and close, giving the peer a moment to read it."""
        self._refused = True
        self._clear_deadline()
        self._unset_keepalive_if_required()
        # None before the first request, whatever its type says.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            # The app is told that its peer is gone, and what it still says goes nowhere.
            cycle.disconnected = True
            cycle.message_event.set()
        answered = cycle is not None and (
            cycle.response_started if self._phase != "head" else not cycle.response_complete
        )
        if answered or self.pipeline:
            self.transport.close()
            return
        self.transport.write(_raw(problem, self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.abort)


def configured(app: Any, *, host: str, port: int) -> Config:
    """How uvicorn serves any app of ours."""
    return Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        # An access log would hold who asked when; /metrics counts.
        access_log=False,
        server_header=False,
        log_config=None,
        http=BoundedProtocol,
        ws="none",
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
        timeout_keep_alive=IDLE_TIMEOUT_S,
        forwarded_allow_ips="127.0.0.1",
    )


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[at : at + HEAD_BYTES_MAX] for at in range(0, len(data), HEAD_BYTES_MAX))


def _raw(problem: Problem, default_headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    response = problem.response()
    response.headers.update(_LAST_WORDS)
    lines = [STATUS_LINE[problem.status].rstrip(b"\r\n")]
    lines += [name + b": " + value for name, value in (*default_headers, *response.raw_headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body)

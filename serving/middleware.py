"""What holds for every request: known hosts in local mode, a bounded body, HEAD, safe headers, a count and a time.

It never looks into a body, and knows nothing of routes but their names. A fault of ours ends here, logged, as a plain
500.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import Metrics
from serving.problems import CSP, SAFE_HEADERS, Problem

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 1024 * 1024
LINGER_S = 2.0
"""After a 413, what the peer still sends is thrown away for so long: a close at once can cost it the answer."""
_ONCE = frozenset((b"host", b"authorization", b"content-type", b"idempotency-key", b"last-event-id"))
"""Headers of which a second one would leave open which counts."""
NEW_COOKIE = "oo.new-cookie"
"""Where a request's scope has the cookie that its answer is to set."""

# No inline script or style at all: a title that got into the page as markup could still do nothing.
CSP_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


_SAFE = [(name.encode(), value.encode()) for name, value in SAFE_HEADERS.items()]
_CSP = (b"content-security-policy", CSP.encode())
_NO_STORE = (b"cache-control", b"no-store")


class _TooLarge(Exception):
    pass


class Middleware:
    """ASGI middleware. `hosts`: names that a Host header may have (None: any)."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, hosts: Collection[str] | None) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        status: int | None = None
        method = scope["method"]
        if method == "HEAD":
            # A GET whose body is left out (RFC 9110, 9.3.2); the server sees its own scope and sends none.
            scope = {**scope, "method": "GET"}

        ended = False

        async def guarded(message: Message) -> None:
            nonlocal status, ended
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], *_SAFE]
                names = {name for name, _ in headers}
                headers += [default for default in (_CSP, _NO_STORE) if default[0] not in names]
                if NEW_COOKIE in scope:
                    headers.append((b"set-cookie", scope[NEW_COOKIE]))
                message["headers"] = headers
            elif method == "HEAD":
                # The answer ends here, and so does a stream: it hears that its peer has gone.
                if ended:
                    return
                ended, message = True, {"type": "http.response.body"}
            await send(message)

        left = BODY_BYTES_MAX

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                if left < 0 and status is None:
                    raise _TooLarge
                if left < 0:
                    return {"type": "http.disconnect"}
            return message

        try:
            problem = self._refusal(scope)
            if problem is _TOO_LARGE:
                await _refuse_body(receive, guarded)
            elif problem is not None:
                await problem.response()(scope, receive, guarded)
            else:
                try:
                    await self._app(scope, bounded, guarded)
                except _TooLarge:
                    await _refuse_body(receive, guarded)
                except Exception:
                    log.exception("edge.fault path=%s", getattr(scope.get("route"), "path", "other"))
                    if status is not None:
                        raise
                    await _FAULT.response()(scope, receive, guarded)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(route, method, status or 500, took_s=time.perf_counter() - started_s)

    def _refusal(self, scope: Scope) -> Problem | None:
        named, length, once = [], "0", set[bytes]()
        for name, value in scope["headers"]:
            if name in _ONCE:
                if name in once:
                    return Problem(400, "repeated-header", detail=f"Send one {name.decode()} header, not several.")
                once.add(name)
            if name == b"host":
                named.append(_hostname(value.decode("latin-1")))
            elif name == b"content-length":
                length = value.decode("latin-1")
        if self._hosts is not None and (not named or any(host not in self._hosts for host in named)):
            # Another name that leads to this machine is a page's trick to read what only loopback may (DNS rebinding).
            return Problem(400, "unknown-host", detail="In local mode use http://localhost or http://127.0.0.1.")
        if not length.isdecimal() or int(length[:19]) > BODY_BYTES_MAX:
            return _TOO_LARGE
        return None


_TOO_LARGE = Problem(
    413,
    "too-large",
    detail=f"A body may have {BODY_BYTES_MAX} bytes; send it in parts.",
    headers={"connection": "close"},
)


async def _refuse_body(receive: Receive, send: Send) -> None:
    """413, and a moment for the peer to read it."""
    answer = _TOO_LARGE.response()
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body"):
                pass
    await send({"type": "http.response.body"})


_FAULT = Problem(500, "fault", detail="The edge failed at this request; the fault is logged.")


def _hostname(host: str) -> str:
    """
    >>> _hostname("LocalHost:8080"), _hostname("[::1]:80"), _hostname("evil.example")
    ('localhost', '[::1]', 'evil.example')
    """
    if host.startswith("["):
        return host[: host.find("]") + 1].lower()
    return host.rsplit(":", 1)[0].lower() if ":" in host else host.lower()

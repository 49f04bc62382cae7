"""POST /v2/models/NAME[/versions/VERSION]/infer, by a short way past the framework's routing, which takes longer than a model (docs/adr/0068)."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.scorer.batches import Late, Overloaded
from serving.scorer.metrics import Metrics
from serving.scorer.refusals import Refused, refusal
from serving.scorer.runtimes import Failed
from serving.scorer.served import Models, NotServed
from serving.scorer.wire import HEADER, BadRequest, answered, asked

log = logging.getLogger(__name__)

BODY_BYTES_MAX = 16 * 1024 * 1024
TIMEOUTS = 10
"""A request may ask for so many times the usual time."""
_BEGINS, _ENDS = "/v2/models/", "/infer"
_LENGTH, _ENCODING = HEADER.encode(), b"content-encoding"


class Gone(Exception):
    """Who asked is not there any more."""


class Inference:
    """ASGI middleware: answers these requests, and passes on all others."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, rows_max: int, timeout_s: float) -> None:
        self._app, self._metrics, self._rows_max, self._timeout_s = app, metrics, rows_max, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        path: str = scope["path"]
        if not path.startswith(_BEGINS) or not path.endswith(_ENDS):
            return await self._app(scope, receive, send)
        match path[len(_BEGINS) : -len(_ENDS)].split("/"):
            case [name]:
                number = None
            case [name, "versions", number]:
                pass
            case _:
                return await self._app(scope, receive, send)
        started_s, model, status, rows = time.perf_counter(), "other", 499, 0
        try:
            try:
                model, rows, content, headers = await self._answer(scope, receive, name, number)
                status = 200
            except Gone:
                return None
            except (BadRequest, Late, Overloaded, Failed, NotServed, Refused) as error:
                status, content, headers = refusal(error)
            except Exception:
                log.exception("scorer.fault")
                status, content, headers = refusal(
                    Refused(500, "the scorer failed at this request; the fault is logged")
                )
            raw = [(one.encode(), value.encode()) for one, value in headers.items()]
            raw.append((b"content-length", b"%d" % len(content)))
            await send({"type": "http.response.start", "status": status, "headers": raw})
            await send({"type": "http.response.body", "body": content})
        finally:
            self._metrics.answered(model, status, rows=rows, took_s=time.perf_counter() - started_s)

    async def _answer(
        self, scope: Scope, receive: Receive, name: str, number: str | None
    ) -> tuple[str, int, bytes, dict[str, str]]:
        arrived_s = asyncio.get_running_loop().time()
        models: Models = scope["app"].state.models
        served = (
            models.champion(name)
            if number is None
            else await models.exact(name, number, until_s=arrived_s + self._timeout_s)
        )
        head_bytes = None
        for header, value in scope["headers"]:
            if header == _LENGTH:
                head_bytes = value.decode("latin-1")
            elif header == _ENCODING:
                raise Refused(415, f"bodies are taken as they are, not as {value[:20].decode('latin-1')!r}")
        one = asked(await _body(receive), head_bytes, d=served.runtime.d, rows_max=self._rows_max)
        within_s = self._timeout_s if one.timeout_s is None else min(one.timeout_s, TIMEOUTS * self._timeout_s)
        rewards = await served.infer(one.features, until_s=arrived_s + within_s)
        return served.name, len(rewards), *answered(served.name, served.version, rewards, id=one.id, binary=one.binary)


async def _body(receive: Receive) -> bytes:
    pieces, size = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        piece = message.get("body", b"")
        size += len(piece)
        if size > BODY_BYTES_MAX:
            raise Refused(413, f"a body may have {BODY_BYTES_MAX} bytes: send fewer rows in it")
        pieces.append(piece)
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

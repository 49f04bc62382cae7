"""The edge as it runs, with three more paths to compare it with: `python -m bench.edge_server SERVER CORE`.

SERVER is uvicorn (as `python -m serving` runs it) or granian; CORE is the one processor that it may use, -1 for any.
Settings come from the environment, as the edge's do. The paths:

    /bench/constant   the same app, token check and short way as GET /v1/tip, with a constant for an answer
    /bench/routed     the same app and token check as an ordinary FastAPI route that returns the constant
    /bench/get/KEY    no app: one GET of Valkey by valkey-py, on the same server
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import uvloop
from fastapi import FastAPI, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from valkey.asyncio import BlockingConnectionPool, Valkey

from serving.__main__ import server
from serving.app import create_app
from serving.edge import Edge
from serving.express import Answer, Lane
from serving.identity import Who
from serving.settings import Settings
from serving.tokens import Identity

BODY = b'{"decision_id":"%b","kind":"task","title":"%b","why":["Due today"]}' % (b"a" * 40, b"x" * 100)
HEADERS = [
    (b"cache-control", b"private, no-cache"),
    (b"vary", b"Authorization, Cookie"),
    (b"etag", b'"00000000000000000000000000000000-1"'),
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(BODY)),
]


class Gets:
    """One GET of Valkey a request, before anything of ours."""

    def __init__(self, app: ASGIApp, valkey_url: str) -> None:
        self._app = app
        self._client = Valkey.from_pool(BlockingConnectionPool.from_url(valkey_url, max_connections=64))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/bench/get/"):
            await self._app(scope, receive, send)
            return
        body = await self._client.get(scope["path"].removeprefix("/bench/get/"))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def app(settings: Settings) -> FastAPI:
    made = create_app(settings)

    async def constant(who: Who) -> Response:
        return Response(BODY, headers={name.decode(): value.decode() for name, value in HEADERS})

    def at_once(edge: Edge, who: Identity) -> Answer:
        return Answer(200, HEADERS.copy(), BODY)

    for path in ("/bench/constant", "/bench/routed"):
        made.get(path, include_in_schema=False)(constant)
    made.state.lanes["/bench/constant"] = Lane(at_once, made.routes[-2])
    return made


async def granian(target: ASGIApp, port: int) -> None:
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    running = Server(
        target,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.stop)
    await running.serve()


def main() -> None:
    name, core = sys.argv[1], int(sys.argv[2])
    if core >= 0:
        os.sched_setaffinity(0, {core})
    logging.disable(logging.WARNING)
    settings = Settings()  # type: ignore[call-arg]  # from the environment
    made = app(settings)
    target = Gets(made, settings.valkey_url)
    if name == "uvicorn":
        running = server(made, settings)
        running.config.app = target
        running.run()
    else:
        uvloop.run(granian(target, settings.edge_port))


if __name__ == "__main__":
    main()

"""A service on loopback that a source speaks to: answers, counts what reached it, and fails the ways services fail.

What it answers is the subclass's; how it fails is the same for all of them, so a source cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from aiohttp import web

Fails = Callable[[web.Request], web.StreamResponse | None]
"""The answer in place of the service's own, or None where it passes."""


class Loopback:
    """One server, as an asynchronous context."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.fails: Fails = lambda _: None
        self.cut_at = 0
        """The body of the answer to the request of this number is cut in its middle; 0 for none."""
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Return the service's own answer."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        number = len(self.asked)
        failed = self.fails(request)
        if failed is not None:
            return failed
        answer = await self.answer(request)
        if number != self.cut_at:
            return answer
        body = answer.body if isinstance(answer.body, bytes) else b""
        cut = web.StreamResponse(status=answer.status, headers={"content-type": answer.content_type})
        cut.content_length = len(body) + 1
        await cut.prepare(request)
        await cut.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()
        return cut

    def cut_next(self, after: int = 0) -> None:
        """Cut the answer to the next request, or to one `after` it."""
        self.cut_at = len(self.asked) + 1 + after


def always(status: int, *, headers: dict[str, str] | None = None, text: str = "") -> Fails:
    """Fail each request so."""
    return lambda _: web.Response(status=status, headers=headers, text=text)

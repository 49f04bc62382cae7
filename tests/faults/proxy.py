"""A TCP proxy before one server, and the weather on it: delay, connections reset, a hole, lost replies.

It never changes a byte. It knows Kafka's framing just far enough to tell the replies to Produce from the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from deploy.stack.state import LOOPBACK

T = TypeVar("T")

PRODUCE = 0
"""The API key of Produce in Kafka's protocol."""
CHUNK_BYTES = 64 * 1024
WAITING_MAX = 256
"""Chunks or frames under way in one direction of one connection; then the sender is held back, as by a full pipe."""
LOOK_EVERY_S = 0.01


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to bytes now."""

    delay_s: float = 0.0
    """One way, so a round trip takes twice as long."""
    jitter_s: float = 0.0
    """Up to so much more, drawn for each chunk; order within a connection is kept, as TCP keeps it."""
    hole: bool = False
    """Connections are accepted and nothing is forwarded. What was sent arrives when it ends, also from the dead."""
    lost_replies: float = 0.0
    """The share of replies to Produce that are dropped, each with its connection: the broker has the records."""


CLEAR = Weather()


class Proxy:
    """One listening port on loopback before one server's port; the server need not run yet. Use it as a context.

    Runs in a thread of its own. `weather` may be set at any time from any thread.
    """

    def __init__(self, port: int, *, target: int, kafka: bool = False, seed: int = 0) -> None:
        self.port = port
        self.weather = CLEAR
        self.lost = 0
        """Replies dropped so far."""
        self.resets = 0
        """Connections reset so far."""
        self.target = target
        self.kafka = kafka
        self.chance = random.Random(f"{seed}/{port}")
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def reset_all(self) -> None:
        """Reset every connection, on both sides."""

        async def body() -> None:
            for connection in list(self._open):
                connection.reset()

        self._do(body())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self._open):
            connection.reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._open.add(connection)
        try:
            await connection.run()
        finally:
            self._open.discard(connection)


class _Connection:
    """One client's connection and ours to the server."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._produces: set[int] = set()
        """Correlation ids of Produce requests that the broker has yet to answer."""

    async def run(self) -> None:
        try:
            self._server = await asyncio.open_connection(LOOPBACK, self._proxy.target)
        except OSError:
            self._client[1].close()
            return
        up = asyncio.create_task(self._carry(self._client[0], self._server[1], up=True))
        down = asyncio.create_task(self._carry(self._server[0], self._client[1], up=False))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            # A client that has gone still had bytes under way, and they arrive; a server that has gone ends it all.
            if not up.done() and not down.result():
                await up
        finally:
            for task in (up, down):
                task.cancel()
            for _, writer in (self._client, self._server):
                writer.close()

    def reset(self) -> None:
        """Both ends hear of it at once; what was under way is gone."""
        self._proxy.resets += 1
        for _, writer in (self._client, self._server or self._client):
            there: Any = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> bool:
        """Carry one direction until its sender ends (True), or its receiver has gone (False)."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_MAX)
        reading = asyncio.create_task(self._read(reader, under_way, up=up))
        try:
            while True:
                due_s, chunk = await under_way.get()
                if not chunk:
                    return True
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                while self._proxy.weather.hole:
                    await asyncio.sleep(LOOK_EVERY_S)
                writer.write(chunk)
                await writer.drain()
        except OSError:
            return False
        finally:
            reading.cancel()

    async def _read(
        self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]], *, up: bool
    ) -> None:
        due_s = 0.0
        while True:
            try:
                chunk = await (self._frame(reader) if self._proxy.kafka else reader.read(CHUNK_BYTES))
            except (OSError, asyncio.IncompleteReadError):
                chunk = b""
            if chunk and self._proxy.kafka and not self._passes(chunk, up=up):
                self._proxy.lost += 1
                self.reset()
                chunk = b""
            weather = self._proxy.weather
            due_s = max(due_s, time.monotonic() + weather.delay_s + self._proxy.chance.uniform(0, weather.jitter_s))
            await under_way.put((due_s, chunk))
            if not chunk:
                return

    @staticmethod
    async def _frame(reader: asyncio.StreamReader) -> bytes:
        """One request or reply with its length before it."""
        head = await reader.readexactly(4)
        return head + await reader.readexactly(int.from_bytes(head, "big"))

    def _passes(self, frame: bytes, *, up: bool) -> bool:
        """Whether a frame goes through: all do but some replies to Produce."""
        if up:
            api, _, correlation_id = struct.unpack_from(">hhi", frame, 4)
            if api == PRODUCE:
                self._produces.add(correlation_id)
            return True
        (correlation_id,) = struct.unpack_from(">i", frame, 4)
        if correlation_id not in self._produces:
            return True
        self._produces.discard(correlation_id)
        share = self._proxy.weather.lost_replies
        return share == 0 or self._proxy.chance.random() >= share

"""Reads of tips over one connection that also hears what changes: Valkey's client tracking, in its default mode.

It never writes, and never says that an answer still holds when it cannot know. Valkey remembers which keys were read
here and tells, once, when one of them is written. Answers and changes come over the same connection, in the order in
which Valkey did them, and one task applies both in that order: an answer that a later write has made old is dropped by
the message that follows it, whoever waits for it meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from valkey.asyncio.connection import Connection, ConnectionPool
from valkey.exceptions import NoScriptError, ResponseError
from valkey.utils import LIBVALKEY_AVAILABLE

from connectors.valkey import READ, READ_SHA, Standing, Unreachable, spent_key, standing_of, tip_key

log = logging.getLogger(__name__)

K = TypeVar("K")

NAME = "oo-edge-reads"
"""The connection's name in CLIENT LIST."""
BEAT_S = 0.02
"""How often Valkey is asked for a sign that it has told everything."""
WAITING_MAX = 10_000
"""Commands without an answer; beyond, a read fails at once."""

Command = tuple[str | bytes | int, ...]


@dataclass(slots=True)
class _Asked:
    """A command on its way. `user_id` is None for what is not a read."""

    at_s: float
    user_id: str | None
    answer: asyncio.Future[object]


@dataclass(slots=True)
class _Line:
    """One connection, from its start to its loss."""

    connection: Connection
    asked: deque[_Asked] = field(default_factory=deque)
    outbox: list[Command] = field(default_factory=list)
    posted: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class TrackedReads(Generic[K]):
    """One per process. `read` and `ping` raise `Unreachable`'s kinds.

    `keep` gets every answer and makes of it what `read` returns; `changed` gets the user whose tip or spent markers
    were written since they were read, or None for all users (Valkey was emptied, or this is a new connection).
    Both are called in the order in which Valkey did it.
    """

    def __init__(
        self,
        url: str,
        *,
        keep: Callable[[str, Standing | None], K],
        changed: Callable[[str | None], None],
        timeout_s: float = 1.0,
        beat_s: float = BEAT_S,
        retry_s: float = 0.5,
    ) -> None:
        # With that parser valkey-py does not tell pushes from answers.
        assert not LIBVALKEY_AVAILABLE
        self._connections = ConnectionPool.from_url(
            url,
            protocol=3,
            client_name=NAME,
            # Its version and name would be read back in another order than they are sent.
            lib_name=None,
            lib_version=None,
            socket_connect_timeout=timeout_s,
            # Between answers it waits as long as it takes; what is overdue is found by the beat.
            socket_timeout=None,
        )
        self._keep = keep
        self._changed = changed
        self._timeout_s = timeout_s
        self._beat_s = beat_s
        self._retry_s = retry_s
        self._line: _Line | None = None
        self._connecting = asyncio.Lock()
        self.heard_s = float("-inf")
        """Every write that Valkey made before this moment (of `now_s`) has been told here."""

    @staticmethod
    def now_s() -> float:
        """Goes on while the machine sleeps."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def read(self, user_id: str) -> K:
        """What `keep` made of the newest tip written for this user; as old as the question at most."""
        keys = (tip_key(user_id), spent_key(user_id))
        try:
            return await self._ask(("EVALSHA", READ_SHA, 2, *keys), user_id=user_id)  # type: ignore[return-value]
        except NoScriptError:
            # Valkey is new, or has forgotten its scripts: this teaches it again.
            return await self._ask(("EVAL", READ, 2, *keys), user_id=user_id)  # type: ignore[return-value]

    async def ping(self) -> None:
        """Raises where Valkey does not answer on this connection."""
        await self._ask(("PING",))

    async def run(self) -> None:
        """Keep the connection, and beat, until cancelled."""
        while True:
            try:
                line = await self._connected()
                while line is self._line:
                    if line.asked and self.now_s() - line.asked[0].at_s > self._timeout_s:
                        self._lose(line, reason="overdue")
                    elif len(line.asked) < WAITING_MAX:
                        self._post(line, ("PING",), user_id=None)
                    await asyncio.sleep(self._beat_s)
            except Unreachable:
                await asyncio.sleep(self._retry_s)

    async def close(self) -> None:
        if self._line is not None:
            tasks = self._line.tasks
            self._lose(self._line, reason="closing")
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, command: Command, *, user_id: str | None = None) -> object:
        async with asyncio.timeout(self._timeout_s):
            line = self._line or await self._connected()
            if len(line.asked) >= WAITING_MAX:
                raise ConnectionError("too many reads wait for Valkey")
            return await self._post(line, command, user_id=user_id)

    def _post(self, line: _Line, command: Command, *, user_id: str | None) -> asyncio.Future[object]:
        # What is posted in one turn of the loop travels together.
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        line.asked.append(_Asked(self.now_s(), user_id, answer))
        line.outbox.append(command)
        line.posted.set()
        return answer

    async def _connected(self) -> _Line:
        async with self._connecting:
            if self._line is not None:
                return self._line
            connection = self._connections.make_connection()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()
                    # There is no public way to be told of changes without a cache of valkey-py's own.
                    connection._parser.set_invalidation_push_handler(self._told)  # noqa: SLF001
                    await connection.send_command("CLIENT", "TRACKING", "ON")
                    await connection.read_response()
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            line = _Line(connection)
            line.tasks = [asyncio.create_task(self._listen(line)), asyncio.create_task(self._send(line))]
            self._line = line
            # What happened before was not told.
            self._changed(None)
            return line

    async def _send(self, line: _Line) -> None:
        with contextlib.suppress(*Unreachable):
            while line is self._line:
                await line.posted.wait()
                line.posted.clear()
                commands, line.outbox = line.outbox, []
                await line.connection.send_packed_command(line.connection.pack_commands(commands), check_health=False)
        self._lose(line, reason="write")

    async def _listen(self, line: _Line) -> None:
        answer: object
        try:
            with contextlib.suppress(*Unreachable):
                while True:
                    try:
                        answer = await line.connection.read_response(disable_decoding=True, push_request=True)
                    except ResponseError as error:
                        answer = error
                    # None is what `_told` returns; nothing that is asked here is answered so.
                    if answer is not None and line is self._line:
                        self._answered(line.asked.popleft(), answer)
        finally:
            self._lose(line, reason="read")
            with contextlib.suppress(*Unreachable):
                await line.connection.disconnect(nowait=True)

    def _answered(self, asked: _Asked, answer: object) -> None:
        self.heard_s = asked.at_s
        result: object = answer
        if asked.user_id is not None and isinstance(answer, list):
            try:
                result = self._keep(asked.user_id, standing_of(answer))
            except Exception as error:  # noqa: BLE001 (what cannot be read is this one reader's, not the connection's)
                result = error
        if asked.answer.done():
            return
        if isinstance(result, Exception):
            asked.answer.set_exception(result)
            # A beat's answer has no reader.
            asked.answer.exception()
        else:
            asked.answer.set_result(result)

    def _told(self, message: Sequence[object]) -> None:
        keys = message[1]
        if not isinstance(keys, list):
            self._changed(None)
            return
        for key in keys:
            # oo:tip:{USER} or oo:spent:{USER}
            self._changed(key.decode().partition("{")[2][:-1])

    def _lose(self, line: _Line, *, reason: str) -> None:
        if line is not self._line:
            return
        if reason != "closing":
            log.warning("reads.lost reason=%s waiting=%d", reason, len(line.asked))
        self._line = None
        # Nothing that was kept counts from here on; `changed(None)` comes with the next connection, before its answers.
        self.heard_s = float("-inf")
        for asked in line.asked:
            if not asked.answer.done():
                asked.answer.set_exception(ConnectionError(f"the connection to Valkey was lost ({reason})"))
                asked.answer.exception()
        line.posted.set()
        for task in line.tasks:
            if task is not asyncio.current_task():
                task.cancel()

"""Has a person's archive made by a process of its own, so that no tip waits for it, and hands its pieces on.

It never reads a record itself, keeps nothing, and makes no more than a few at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Final

from streams.cluster import Cluster
from streams.security import Security

AT_ONCE: Final = 2
MADE_S_MAX: Final = 600.0
"""The whole of one."""
_PIECE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """Where PostgreSQL keeps what is of people beside the log, and what opens it; the files of what is empty are left out."""

    notifier_dsn: str = field(default="", repr=False)
    connections_dsn: str = field(default="", repr=False)
    vault_dir: str = ""
    auth_dsn: str = field(default="", repr=False)
    auth_key_file: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """Whose archive, and where everything is."""

    user_id: str
    pseudonym: str
    """What they are called behind the door."""
    cluster: Cluster
    history_dsn: str = field(default="", repr=False)
    """PostgreSQL as the role `history`; without it that file is left out."""
    kek_dir: str = ""
    """Of the key-encryption keys; without it what is sealed cannot be shown."""
    kept: Kept = Kept()

    def told(self) -> bytes:
        """For another process. It holds passwords."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def heard(cls, told: bytes) -> Order:
        """What `told` gave."""
        fields = json.loads(told)
        cluster = fields["cluster"]
        return cls(
            fields["user_id"],
            fields["pseudonym"],
            Cluster(**{**cluster, "security": Security(**cluster["security"])}),
            fields["history_dsn"],
            fields["kek_dir"],
            Kept(**fields["kept"]),
        )


class Busy(Exception):
    """As many are made as may be."""


class NotMade(Exception):
    """The process ended before it was done; its line is in the log."""


class Exports:
    """One per edge."""

    def __init__(self, cluster: Cluster, *, history_dsn: str, kek_dir: str, kept: Kept) -> None:
        self._cluster = cluster
        self._kek_dir = kek_dir
        self._history_dsn = history_dsn
        self._kept = kept
        self._making = 0

    async def begin(self, user_id: str, *, pseudonym: str) -> AsyncIterator[bytes]:
        """The archive's pieces, once there is a first one. Raises Busy and NotMade; what breaks off later raises NotMade too."""
        if self._making >= AT_ONCE:
            raise Busy
        self._making += 1
        pieces = self._pieces(Order(user_id, pseudonym, self._cluster, self._history_dsn, self._kek_dir, self._kept))
        try:
            first = await anext(pieces)
        except BaseException:
            await pieces.aclose()
            raise
        return _with(first, pieces)

    async def _pieces(self, order: Order) -> AsyncGenerator[bytes]:
        process: Process | None = None
        try:
            async with asyncio.timeout(MADE_S_MAX):
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "serving.archive"), stdin=PIPE, stdout=PIPE
                )
                assert process.stdin is not None
                assert process.stdout is not None
                with contextlib.suppress(ConnectionError):
                    # By no argument: `ps` would show whose it is.
                    process.stdin.write(order.told())
                    await process.stdin.drain()
                process.stdin.close()
                while piece := await process.stdout.read(_PIECE_BYTES):
                    yield piece
                if await process.wait():
                    raise NotMade
        except TimeoutError:
            raise NotMade from None
        finally:
            self._making -= 1
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()


async def _with(first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(rest):
        yield first
        async for piece in rest:
            yield piece

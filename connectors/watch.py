"""Follows one file as its owner edits it: every settled change is read, and its difference sent.

It never ends over a file that is missing, half written or unreadable, nor over a delivery that failed: it says so and
looks again. What it sends to, parses with and remembers in is passed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from watchfiles import awatch

from connectors.differences import Memory, Patience, differences, settled, waiting
from connectors.source_file import BYTES_MAX, Parsed, UnreadableFile
from oo.v1.signal_pb2 import Signal

_Signature = tuple[int, int, int]
"""Time of writing, size, inode: what changes when a file does."""


class NotDelivered(Exception):
    """What was found could not be sent; it will be found again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a watcher looks; the defaults suit a person at an editor."""

    settle_s: float = 0.25
    """A file counts as written once it stood still this long."""
    empty_s: float = 2.0
    """An emptied file counts as meant after this long: some editors empty it before they write."""
    absent_s: float = 10.0
    """A line or event counts as deleted once it was absent this long: others may still be writing."""
    emptied_s: float = 600.0
    """The same where nothing is left in the file at all: tools that synchronise empty it for a while."""
    poll_s: float = 5.0
    """Looks without being told, for file systems that do not tell; and after a failure."""
    reread_s: float = 900.0
    """Reads the unchanged file again: days pass, start dates come, and the calendar's window moves."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file's content at one moment, and the moment it was last written."""

    data: bytes
    modified: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """What one look at the file came to."""

    sent: Sequence[Signal] = ()
    parsed: Parsed | None = None
    no_room: int = 0
    """Open tasks and events that wait until others of this file are done."""
    trouble: str = ""
    """Why nothing could be read or sent, or empty."""


def read_file(path: Path) -> Snapshot:
    """Return the file as it stands; raises OSError, and UnreadableFile if it is too large."""
    stat = path.stat()
    if stat.st_size > BYTES_MAX:
        raise UnreadableFile(
            f"it has {stat.st_size / 1024 / 1024:.1f} MB, the limit is {BYTES_MAX // 1024 // 1024} MB; "
            "split it, or export a shorter time"
        )
    with path.open("rb") as file:
        data = file.read(BYTES_MAX + 1)
    return Snapshot(data=data, modified=datetime.fromtimestamp(stat.st_mtime, UTC))


@dataclass(slots=True)
class Watch:
    """One file, one person, and what was sent so far."""

    path: Path
    user_id: str
    memory: Memory
    parse: Callable[[Snapshot, datetime], Parsed]
    """Raises UnreadableFile."""
    send: Callable[[Sequence[Signal]], Awaitable[None]]
    """Returns once all are acknowledged; raises NotDelivered."""
    remember: Callable[[Memory], None]
    """Called before `send`, with what may be out then, and after it."""
    now: Callable[[], datetime]
    pace: Pace = Pace()
    held_elsewhere: Callable[[], AbstractSet[str]] = frozenset
    """The keys that this person's other watched files hold: two calendars may have one meeting."""

    async def follow(self, stop: asyncio.Event) -> AsyncGenerator[Report]:
        """Yield a report at the start and after each change, until `stop` is set."""
        trouble = ""
        seen: _Signature | None = None
        read_at = float("-inf")
        clock = asyncio.get_running_loop().time
        async with aclosing(self._nudges(stop)) as nudges:
            async for _ in nudges:
                changed = read_at == float("-inf") or _signature(self.path) != seen
                due = self.memory.doubtful or clock() - read_at >= self.pace.reread_s
                if not changed and not trouble and not due:
                    continue
                seen = await self._settled(stop)
                if stop.is_set():
                    return
                report = await self.look()
                read_at = clock()
                # The same trouble is said once.
                if report.sent or report.trouble != trouble or (changed and not report.trouble):
                    yield report
                trouble = report.trouble

    async def look(self) -> Report:
        """Read the file once and send what is different."""
        try:
            snapshot = read_file(self.path)
            now = self.now()
            parsed = self.parse(snapshot, now)
        except FileNotFoundError:
            return Report(trouble=f"{self.path} is not there; waiting for it")
        except (OSError, UnreadableFile) as error:
            return Report(trouble=f"{self.path} cannot be read: {error}; waiting for it to change")
        signals, memory = differences(
            self.memory,
            parsed,
            user_id=self.user_id,
            modified_ms=int(snapshot.modified.timestamp() * 1000),
            now_ms=int(now.timestamp() * 1000),
            removals=True,
            patience=Patience(int(self.pace.absent_s * 1000), int(self.pace.emptied_s * 1000)),
            elsewhere=self.held_elsewhere(),
        )
        self._keep(memory)
        if signals:
            try:
                await self.send(signals)
            except NotDelivered as error:
                return Report(parsed=parsed, trouble=f"{error}; trying again")
            self._keep(settled(memory))
        return Report(sent=signals, parsed=parsed, no_room=waiting(parsed, memory))

    def _keep(self, memory: Memory) -> None:
        if memory != self.memory:
            self.memory = memory
            self.remember(memory)

    async def _nudges(self, stop: asyncio.Event) -> AsyncGenerator[None]:
        """Once at the start, then at each change in the file's folder and at each poll."""
        yield
        while not stop.is_set():
            folder = self.path.resolve().parent
            try:
                # The folder, not the file: an editor that replaces the file by renaming leaves a watch on nothing.
                async for _ in awatch(
                    folder,
                    watch_filter=None,
                    recursive=False,
                    stop_event=stop,
                    debounce=50,
                    step=20,
                    rust_timeout=int(self.pace.poll_s * 1000),
                    yield_on_timeout=True,
                ):
                    yield
            except OSError:
                # The folder itself is gone: look whether it came back.
                yield
            if not stop.is_set():
                await _pause(stop, self.pace.poll_s)

    async def _settled(self, stop: asyncio.Event) -> _Signature | None:
        """Wait until the file stands still; longer where it is empty and had something before."""
        signature, still_s = _signature(self.path), 0.0
        while not stop.is_set():
            await _pause(stop, self.pace.settle_s)
            found = _signature(self.path)
            still_s = still_s + self.pace.settle_s if found == signature else 0.0
            signature = found
            emptied = (found is None or found[1] == 0) and any(not said.gone for said in self.memory.items.values())
            if still_s >= (self.pace.empty_s if emptied else self.pace.settle_s):
                break
        return signature


def _signature(path: Path) -> _Signature | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


async def _pause(stop: asyncio.Event, time_s: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), timeout=time_s)
    except TimeoutError:
        return

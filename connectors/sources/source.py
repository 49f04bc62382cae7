"""What a source is: it says how it is connected, and reads what is there now as pages of signals.

It never touches storage, Kafka or a clock: what it may use comes in an `Access`, where it stands is an opaque cursor,
and what goes wrong is one of a few values that a scheduler can act on. Who calls keeps the cursor, sealed: it holds a
person's words.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

import httpx

from connectors.source_file import Problem
from oo.v1.signal_pb2 import Signal

CURSOR_BYTES_MAX: Final = 8 * 1024 * 1024
"""No cursor is longer; a connection that would need more holds too much."""


class Kind(StrEnum):
    """What a source can tell about a person."""

    TASKS = "tasks"
    EVENTS = "events"
    ACTIVITY = "activity"


class Connect(StrEnum):
    """How a person connects a source."""

    FILE = "file"
    URL = "url"
    BASIC = "basic"
    """A name and a password."""
    TOKEN = "token"  # noqa: S105 - a kind of door
    """A token that the person made at the service."""
    OAUTH = "oauth"
    HOOK = "hook"
    """The other side posts to us, signed."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a form asks for. A secret comes in `Access.credentials`, all else in `Access.settings`, under `name`."""

    name: str
    label: str
    kind: str = "text"
    """text, url, path or password: what an input is."""
    secret: bool = False
    required: bool = True
    generated: bool = False
    """Made by us and shown to the person once: a hook's secret ("whsec_" and base64 of 24 to 64 bytes)."""


@dataclass(frozen=True, slots=True)
class OAuth:
    """What an authorization code flow needs; client id and secret are the operator's settings."""

    authorize_url: str
    token_url: str
    scopes: tuple[str, ...]
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further parameters of the authorization request."""
    pkce: bool = True


@dataclass(frozen=True, slots=True)
class Way:
    """One way to connect."""

    connect: Connect
    fields: tuple[Field, ...] = ()
    oauth: OAuth | None = None
    """Set for OAUTH alone. The token then comes in `Access.credentials["access_token"]`."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a source is, for forms and lists."""

    name: str
    """Stable, also in the signals' source (`caldav:3f2a9c`)."""
    title: str
    gives: tuple[Kind, ...]
    ways: tuple[Way, ...]
    writes_back: bool = False
    """Whether DONE on a tip can complete the task there (`WritesBack`)."""
    every_s: int = 300
    """How often to look, where nothing else is said."""


class FaultKind(StrEnum):
    """What may go wrong; what to do about each is beside it."""

    RATE_LIMITED = "rate-limited"
    """Ask again at `until_ms`, not before."""
    TOKEN_EXPIRED = "token-expired"  # noqa: S105
    """Refresh it and ask again; if there is nothing to refresh with, the person has to sign in there again."""
    TOKEN_REVOKED = "token-revoked"  # noqa: S105
    """Ask no more: the person has to connect it again."""
    GONE = "gone"
    """The file, calendar or account is not there. Ask seldom; the person may want to disconnect it."""
    UNREACHABLE = "unreachable"
    """Ask again, later each time."""
    TOO_MUCH = "too-much"
    """It holds more than is read. Ask seldom; the person may connect less of it."""
    ODD_ANSWER = "odd-answer"
    """It answered what nobody can read. As unreachable, and worth a look by an operator."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a read or a write ended early."""

    kind: FaultKind
    until_ms: int = 0
    """Since 1970; 0 where the service did not say."""
    detail: str = ""
    """A fixed word or "HTTP 500": never a person's word, an address or a token."""


class Failed(Exception):
    """How a source ends its own work early; `pages` makes a value of it."""

    def __init__(self, kind: FaultKind, detail: str = "", *, until_ms: int = 0, problem: str = "") -> None:
        super().__init__(f"{kind} {detail}".strip())
        self.fault = Fault(kind, until_ms, detail)
        self.problems = (Problem(0, problem),) if problem else ()
        """What the person is told, where they can mend it."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a source may use for one connection of one person, for one read."""

    connection_id: str
    user_id: str
    zone: ZoneInfo
    """Where the person lives."""
    now: datetime
    """Aware; the beginning of this read."""
    client: httpx.AsyncClient
    """Of `connectors.outside.client_for`."""
    settings: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Path | None = None
    """The folder below which files may be read; without one, none."""

    @property
    def now_ms(self) -> int:
        """`now` in ms since 1970."""
        return int(self.now.timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what is there. Keep `cursor` once Kafka has acknowledged the signals: the next read goes on from it."""

    cursor: bytes
    signals: tuple[Signal, ...] = ()
    ahead: bytes = b""
    """Set beside signals. Keep it before sending and no crash leaves unknown what may be out; it is a cursor too, from
    which the same signals come again under the same ids."""
    problems: tuple[Problem, ...] = ()
    """What could not be taken as it stands, of this page. For the person's eyes: it may quote them."""
    again_s: float = 0.0
    """Look again after this long; 0 where `every_s` will do."""
    fault: Fault | None = None
    """Why it ends here; always on a page without signals, the last."""


class Source(Protocol):
    """One service or kind of file. It has no state: one instance serves all connections."""

    @property
    def description(self) -> Description: ...

    def read(self, access: Access, cursor: bytes) -> AsyncGenerator[Page]:
        """Yield what changed since the cursor, b"" for a first read, at least one page; raises Failed.

        Each page's cursor is a place to go on from. The same difference found twice has the same event ids, and a
        cursor that is lost, here or at the service, costs a full read and doubles nothing.
        """
        ...


class Outcome(StrEnum):
    """What became of a word that was to be written back."""

    DONE = "done"
    ALREADY = "already"
    """It was completed there before, or by a try of which nobody heard."""
    CONFLICT = "conflict"
    """It was changed there since it was last read; nothing was written. Read again, and tell the person."""
    MISSING = "missing"
    """It is not there any more."""
    UNABLE = "unable"
    """This item cannot be completed from outside."""


@dataclass(frozen=True, slots=True)
class WrittenBack:
    """The outcome, or why there is none yet."""

    outcome: Outcome | None
    fault: Fault | None = None


@runtime_checkable
class WritesBack(Protocol):
    """A source that can complete a task at its service."""

    async def complete(self, access: Access, cursor: bytes, *, external_id: str, operation: str) -> Outcome:
        """Complete one task as the cursor knows it; raises Failed. `operation` is a UUID, the same at each retry of this word.

        The cursor stays as it is: the next read brings what the completion changed there.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was posted to us. Header names are in small letters."""

    headers: Mapping[str, str]
    body: bytes
    received_ms: int = 0
    """When it came, where it is read later than that; 0 for the access's now. Its age is told by this."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a delivery came to. One that was heard before is answered as the first, with a page without signals."""

    page: Page | None
    refused: str = ""
    """Empty, or one of "bad-signature", "too-old", "bad-body": nothing of it was used."""


@runtime_checkable
class Hooked(Protocol):
    """A source whose other side posts to us."""

    def webhook(self, access: Access, cursor: bytes, delivery: Delivery) -> Heard:
        """Return what a delivery says; pure."""
        ...


def signal_source(name: str, access: Access) -> str:
    """Return what a connection's signals have as their source: ids are unique within it.

    >>> from datetime import UTC
    >>> with_id = Access("3f2a9c", "ann", ZoneInfo("UTC"), datetime(2026, 11, 29, tzinfo=UTC), httpx.AsyncClient())
    >>> signal_source("caldav", with_id)
    'caldav:3f2a9c'
    """
    return f"{name}:{access.connection_id}"


async def pages(source: Source, access: Access, cursor: bytes) -> AsyncIterator[Page]:
    """Yield a source's pages; what ends it early is the last one's `fault`. Never raises what the world does."""
    kept = cursor
    try:
        async for page in source.read(access, cursor):
            if len(page.cursor) > CURSOR_BYTES_MAX:
                yield Page(kept, fault=Fault(FaultKind.TOO_MUCH, detail="cursor"))
                return
            kept = page.cursor
            yield page
    except Failed as failed:
        yield Page(kept, problems=failed.problems, fault=failed.fault)


async def write_back(source: Source, access: Access, cursor: bytes, *, external_id: str, operation: str) -> WrittenBack:
    """Complete a task at its service; UNABLE where the source cannot. Never raises what the world does."""
    if not isinstance(source, WritesBack):
        return WrittenBack(Outcome.UNABLE)
    try:
        return WrittenBack(await source.complete(access, cursor, external_id=external_id, operation=operation))
    except Failed as failed:
        return WrittenBack(None, failed.fault)

"""What the contract suite needs of a source's service, and what somebody who reads the signals knows afterwards."""

from __future__ import annotations

import ipaddress
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import httpx

from connectors.differences import item_key
from connectors.outside import client_for
from connectors.source_file import Problem
from connectors.sources.source import Access, Fault, Page, Source, pages
from oo.v1.signal_pb2 import Signal
from tests.connectors.sources.loopback import Loopback, always

NOW = datetime(2026, 11, 29, 9, 0, tzinfo=UTC)
HOME = ZoneInfo("Europe/Berlin")
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


class Told:
    """What is known from signals alone, as the door and a row take them: an event id counts once, the later word stands."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Signal] = {}
        self.counted = 0
        """Signals that said something new."""
        self._taken: set[tuple[str, str]] = set()

    def hear(self, signals: Iterable[Signal]) -> None:
        for signal in signals:
            if (signal.source, signal.event_id) in self._taken:
                continue
            self._taken.add((signal.source, signal.event_id))
            self.counted += 1
            key = (signal.source, item_key(signal))
            known = self.items.get(key)
            if known is None or known.event_time.ToMilliseconds() <= signal.event_time.ToMilliseconds():
                self.items[key] = signal

    @property
    def there(self) -> list[Signal]:
        return [one for one in self.items.values() if (one.WhichOneof("payload") or "").endswith("upserted")]

    @property
    def titles(self) -> list[str]:
        return sorted(_what(one).title for one in self.there)

    def one(self, title: str) -> Signal:
        (found,) = [one for one in self.there if _what(one).title == title]
        return found


def _what(signal: Signal):
    return getattr(signal, signal.WhichOneof("payload") or "")


@dataclass
class Reader:
    """One connection, read as its scheduler reads it: a cursor is kept once its signals are heard."""

    source: Source
    access: Access
    told: Told = field(default_factory=Told)
    cursor: bytes = b""
    problems: list[Problem] = field(default_factory=list)

    async def settle(self, *, now: datetime) -> None:
        """Read until nothing is in doubt: some sources believe an absence at the second look."""
        await self.read(now=now)
        await self.read(now=now + timedelta(minutes=1))

    async def read(self, *, now: datetime = NOW, keep: Callable[[Page], bool] = lambda _: True) -> Fault | None:
        """Read all that there is now; where `keep` says no, this worker is killed before it keeps a cursor."""
        access = self._at(now)
        self.problems = []
        async for page in pages(self.source, access, self.cursor):
            self.told.hear(page.signals)
            self.problems += page.problems
            if not keep(page):
                return None
            self.cursor = page.cursor
            if page.fault is not None:
                return page.fault
        return None

    def _at(self, now: datetime) -> Access:
        given = self.access
        return Access(
            given.connection_id,
            given.user_id,
            given.zone,
            now,
            given.client,
            given.settings,
            given.credentials,
            given.files,
        )


class World(ABC):
    """One source and its service, in which a test changes what a person would change."""

    name: ClassVar[str]
    not_said: ClassVar[Mapping[str, str]] = {}
    """By case, why it says nothing about this source; in docs/sources.md."""
    many: ClassVar[int] = 10_000
    needs: ClassVar[str] = ""
    """A fixture that gives the server that it runs on."""
    held: ClassVar[int] = 0
    """How many of them are told at once; 0 for as many as a row holds."""
    source: Source
    service: Loopback

    def __init__(self, folder: Path, server: Any = None) -> None:
        self.folder = folder

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the service, with nothing in it."""
        async with self.service, client_for(LOOPBACK) as self.client:
            yield

    client: httpx.AsyncClient

    @abstractmethod
    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Settings and credentials of a connection."""

    @abstractmethod
    async def put(self, name: str, title: str) -> None:
        """Make the item of this name, or give it another title."""

    @abstractmethod
    async def take(self, name: str) -> None:
        """Delete it."""

    async def put_many(self, number: int) -> None:
        for i in range(number):
            await self.put(f"n{i:05}", f"item {i}")

    async def vanish(self) -> None:
        """Take the calendar, file or account away as a whole."""
        self.service.fails = always(404)

    async def forget_places(self) -> None:
        """Have the service forget the tokens that it gave out."""
        raise NotImplementedError

    async def put_at_nine_in_new_york(self, title: str) -> None:
        """Make an item at 9 in the morning of 30 November in New York, in the way that the service says so."""
        raise NotImplementedError

    async def put_weekly(self, title: str) -> None:
        """Make one that comes each week, first on Monday 30 November at 8:00 in Berlin."""
        raise NotImplementedError

    def says_weekly(self, told: Told, title: str) -> None:
        """Assert what is to be known of it at NOW and two days later."""
        raise NotImplementedError

    async def put_odd(self) -> None:
        """Make an item that nobody can read."""
        raise NotImplementedError

    def reader(self, connection_id: str = "c1", told: Told | None = None) -> Reader:
        settings, credentials = self.door()
        access = Access(connection_id, "ann", HOME, NOW, self.client, settings, credentials, self.folder)
        return Reader(self.source, access, told if told is not None else Told())


def due(signal: Signal) -> datetime:
    return signal.task_upserted.due.ToDatetime(UTC)


def start(signal: Signal) -> datetime:
    return signal.calendar_event_upserted.start.ToDatetime(UTC)


NINE_IN_NEW_YORK = datetime(2026, 11, 30, 9, 0, tzinfo=ZoneInfo("America/New_York"))
MONDAY_AT_EIGHT = datetime(2026, 11, 30, 8, 0, tzinfo=HOME)
WEEK = timedelta(days=7)

"""A real Radicale, an environment of its own (it is GPL), behind a server of ours that passes all on, and fails when told to."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from aiohttp import web

from connectors.sources.caldav import CalDav
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import MONDAY_AT_EIGHT, Told, World, due
from tests.foreign import programs

LOCK = Path(__file__).parent / "radicale" / "requirements.txt"
CONFIG = """
[server]
hosts = 127.0.0.1:{port}
[auth]
type = htpasswd
htpasswd_filename = {folder}/users
htpasswd_encryption = plain
[storage]
filesystem_folder = {folder}/store
[rights]
type = owner_only
"""


class Server(NamedTuple):
    """A Radicale that runs."""

    url: str
    store: Path
    people: Iterator[int]


class Passes(Loopback):
    """Passes requests on to Radicale."""

    behind = ""
    before_put: Callable[[], Awaitable[None]] | None = None
    """Done before a PUT goes on to Radicale."""

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "PUT" and self.before_put is not None:
            await self.before_put()
        kept = ("authorization", "content-type", "depth", "if-match", "if-none-match")
        headers = {name: said for name, said in request.headers.items() if name.lower() in kept}
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            url = self.behind + request.raw_path
            said = await client.request(request.method, url, headers=headers, content=await request.read())
        headers = {name: value for name, value in said.headers.items() if name in ("etag", "content-type", "location")}
        return web.Response(status=said.status_code, headers=headers, body=said.content)


PEOPLE_MAX = 500


@contextmanager
def radicale(folder: Path) -> Iterator[Server]:
    """One server for all worlds: each is a person of its own there, p1 and so on, with "secret"."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "users").write_text("".join(f"p{i}:secret\n" for i in range(1, PEOPLE_MAX)))
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    program = programs(LOCK) / "radicale"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen((program, "--config", str(folder / "config")), stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(trust_env=False) as client:
            for _ in range(600):
                try:
                    client.get(url)
                    break
                except httpx.TransportError:
                    assert process.poll() is None, (folder / "log").read_text()
                    time.sleep(0.1)
        yield Server(url, folder / "store" / "collection-root", itertools.count(1))
    finally:
        process.terminate()
        process.wait()


def todo(uid: str, title: str, *lines: str) -> str:
    stamp = "DTSTAMP:20261101T090000Z"
    inside = ("BEGIN:VTODO", f"UID:{uid}", stamp, f"SUMMARY:{title}", *lines, "END:VTODO")
    return "\r\n".join(("BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", *inside, "END:VCALENDAR", ""))


class CalDavWorld(World):
    name = "caldav"
    many = 500  # Radicale takes minutes to list 10,000.

    needs = "radicale"

    def __init__(self, folder: Path, server: Any = None) -> None:
        super().__init__(folder)
        self.source = CalDav()
        self.service: Passes = Passes()
        self.service.behind = server.url
        self.person = f"p{next(server.people)}"
        self.tasks = server.store / self.person / "tasks"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        signed_in = httpx.BasicAuth(self.person, "secret")
        self.direct = httpx.AsyncClient(base_url=self.service.behind, auth=signed_in, trust_env=False, timeout=60)
        async with super().running(), self.direct:
            await self.make_calendar("tasks")
            yield

    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {"url": self.service.url, "username": self.person}, {"password": "secret"}

    async def make_calendar(self, name: str) -> None:
        (await self.direct.request("MKCALENDAR", f"/{self.person}/{name}/")).raise_for_status()

    async def write(self, name: str, text: str, *, calendar: str = "tasks") -> None:
        headers = {"content-type": "text/calendar; charset=utf-8"}
        (
            await self.direct.put(f"/{self.person}/{calendar}/{name}.ics", content=text, headers=headers)
        ).raise_for_status()

    async def text(self, name: str) -> str:
        return (await self.direct.get(f"/{self.person}/tasks/{name}.ics")).raise_for_status().text

    async def put(self, name: str, title: str) -> None:
        await self.write(name, todo(name, title))

    async def put_many(self, number: int) -> None:
        for i in range(number):
            (self.tasks / f"n{i:05}.ics").write_bytes(todo(f"n{i:05}", f"item {i}").encode())

    async def take(self, name: str) -> None:
        (await self.direct.delete(f"/{self.person}/tasks/{name}.ics")).raise_for_status()

    async def forget_places(self) -> None:
        shutil.rmtree(self.tasks / ".Radicale.cache" / "sync-token")

    async def put_at_nine_in_new_york(self, title: str) -> None:
        await self.write("ny", todo("ny", title, "DUE;TZID=America/New_York:20261130T090000"))

    async def put_weekly(self, title: str) -> None:
        await self.write("w", todo("w", title, "DUE;TZID=Europe/Berlin:20261130T080000", "RRULE:FREQ=WEEKLY"))

    def says_weekly(self, told: Told, title: str) -> None:
        assert due(told.one(title)) == MONDAY_AT_EIGHT

    async def put_odd(self) -> None:
        lines = ("DTSTART:20261130T080000Z", "DURATION:PT1S", "RRULE:FREQ=SECONDLY")
        await self.write("odd", todo("odd", "Every second", *lines).replace("VTODO", "VEVENT"))

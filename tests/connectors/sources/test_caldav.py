"""What only CalDAV does: calendars that come and go, and a task completed at its server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from connectors.outside import client_for
from connectors.sources.caldav import CalDav
from connectors.sources.source import Access, Failed, FaultKind, Outcome, WrittenBack, write_back
from connectors.sources.webdav import ELEMENTS_MAX, multistatus
from tests.connectors.sources.caldav_world import CalDavWorld, Server, todo
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import HOME, LOOPBACK, NOW, Reader

OPERATION = "3f2a9c00-0000-4000-8000-000000000001"


def with_radicale(server: Server, test: Callable[[CalDavWorld], Awaitable[None]]) -> None:
    async def run() -> None:
        world = CalDavWorld(Path(), server)
        async with world.running():
            await test(world)

    asyncio.run(run())


async def done(reader: Reader, task: str) -> WrittenBack:
    return await write_back(reader.source, reader.access, reader.cursor, external_id=task, operation=OPERATION)


def test_done_here_is_done_there_once_and_nothing_else_of_the_task_is_touched(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        note = "X-APPLE-SORT-ORDER:42"
        await world.write("a", todo("a", "Call Mom", "STATUS:NEEDS-ACTION", note, "PRIORITY:1"))
        reader = world.reader()
        await reader.read()
        assert (await done(reader, "a")).outcome is Outcome.DONE
        text = await world.text("a")
        assert "STATUS:COMPLETED" in text and "COMPLETED:20261129T090000Z" in text
        assert note in text and "PRIORITY:1" in text and "NEEDS-ACTION" not in text
        assert (await done(reader, "a")).outcome is Outcome.ALREADY
        await reader.read(now=NOW + timedelta(minutes=5))
        assert [one.WhichOneof("payload") for one in reader.told.items.values()] == ["task_completed"]

    with_radicale(radicale, test)


def test_a_task_that_was_changed_there_meanwhile_is_a_conflict_and_stays_as_it_is(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        await world.put("a", "Call Mom")
        reader = world.reader()
        await reader.read()
        await world.put("a", "Call Mom and Dad")
        assert (await done(reader, "a")).outcome is Outcome.CONFLICT
        assert "COMPLETED" not in await world.text("a")
        await reader.read(now=NOW + timedelta(minutes=5))
        assert (await done(reader, "a")).outcome is Outcome.DONE

    with_radicale(radicale, test)


def test_a_change_in_the_very_moment_of_writing_is_a_conflict(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        await world.put("a", "Call Mom")
        reader = world.reader()
        await reader.read()
        world.service.before_put = lambda: world.put("a", "Call Mom and Dad")
        assert (await done(reader, "a")).outcome is Outcome.CONFLICT
        assert "Dad" in await world.text("a") and "COMPLETED" not in await world.text("a")

    with_radicale(radicale, test)


def test_what_cannot_be_completed_says_why(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        await world.put("a", "Call Mom")
        await world.put_weekly("Take out the bins")
        reader = world.reader()
        await reader.read()
        assert (await done(reader, "w")).outcome is Outcome.UNABLE, "it would end all weeks to come"
        await world.take("a")
        assert (await done(reader, "a")).outcome is Outcome.MISSING
        assert (await done(reader, "none")).outcome is Outcome.MISSING
        reader.access = replace(reader.access, credentials={"password": "changed"})
        fault = (await done(reader, "w")).fault
        assert fault is not None
        assert fault.kind is FaultKind.TOKEN_REVOKED

    with_radicale(radicale, test)


def test_calendars_that_come_and_go_are_followed(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        await world.put("a", "Call Mom")
        await world.make_calendar("work")
        await world.write("b", todo("b", "Write report"), calendar="work")
        reader = world.reader()
        await reader.read()
        assert reader.told.titles == ["Call Mom", "Write report"]
        (await world.direct.delete(f"/{world.person}/work/")).raise_for_status()
        assert await reader.read(now=NOW + timedelta(minutes=5)) is None
        assert reader.told.titles == ["Call Mom"]
        await world.make_calendar("home")
        await world.write("c", todo("c", "Water plants"), calendar="home")
        await reader.read(now=NOW + timedelta(hours=2))
        assert reader.told.titles == ["Call Mom", "Water plants"]

    with_radicale(radicale, test)


def test_a_server_with_nothing_at_its_root_says_where_calendars_are(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        def elsewhere(request: web.Request) -> web.Response | None:
            if request.path == "/":
                return web.Response(status=405)
            if request.path == "/.well-known/caldav":
                return web.Response(status=301, headers={"location": f"/{world.person}/"})
            return None

        await world.put("a", "Call Mom")
        world.service.fails = elsewhere
        reader = world.reader()
        assert await reader.read() is None
        assert reader.told.titles == ["Call Mom"]

    with_radicale(radicale, test)


def test_the_address_of_one_calendar_is_that_one(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        await world.put("a", "Call Mom")
        await world.make_calendar("work")
        await world.write("b", todo("b", "Write report"), calendar="work")
        reader = world.reader()
        settings = {"url": f"{world.service.url}/{world.person}/work", "username": world.person}
        reader.access = replace(reader.access, settings=settings)
        assert await reader.read() is None
        assert reader.told.titles == ["Write report"]

    with_radicale(radicale, test)


def test_an_address_that_is_none_says_so(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        reader = world.reader()
        for url in ("", "cloud.example.org", "http://a:b:c/", "ftp://example.org/", "file:///etc/passwd"):
            reader.access = replace(reader.access, settings={"url": url, "username": world.person})
            fault = await reader.read()
            assert fault is not None
            assert (fault.kind, fault.detail) == (FaultKind.GONE, "bad-address"), url

    with_radicale(radicale, test)


def test_a_wrong_password_is_told_as_one(radicale: Server) -> None:
    async def test(world: CalDavWorld) -> None:
        reader = world.reader()
        reader.access = replace(reader.access, credentials={"password": "wrong"})
        fault = await reader.read()
        assert fault is not None
        assert (fault.kind, fault.detail) == (FaultKind.TOKEN_REVOKED, "HTTP 401")

    with_radicale(radicale, test)


class Large(Loopback):
    """One calendar of these texts, by name."""

    def __init__(self, texts: dict[str, str]) -> None:
        super().__init__()
        self.texts = texts

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        if request.method == "PROPFIND":
            said = self._said("", "<resourcetype><C:calendar/></resourcetype>")
        elif "sync-collection" in body:
            said = "".join(self._said(one, "<getetag>1</getetag>") for one in self.texts) + "<sync-token>1</sync-token>"
        else:
            asked = re.findall(r"/c/(\w+)</href>", body)
            told = "<getetag>1</getetag><C:calendar-data>{}</C:calendar-data>"
            said = "".join(self._said(one, told.format(self.texts[one])) for one in asked)
        named = 'xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"'
        return web.Response(status=207, text=f"<multistatus {named}>{said}</multistatus>")

    def _said(self, name: str, properties: str) -> str:
        return f"<response><href>/c/{name}</href><propstat><prop>{properties}</prop></propstat></response>"


def with_large(texts: dict[str, str], test: Callable[[Large, Reader], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Large(texts) as server, client_for(LOOPBACK) as client:
            settings, credentials = {"url": f"{server.url}/c/", "username": "ann"}, {"password": "secret"}
            await test(server, Reader(CalDav(), Access("c1", "ann", HOME, NOW, client, settings, credentials)))

    asyncio.run(run())


def test_more_text_than_is_held_says_so_and_is_read_once_there_is_less() -> None:
    async def test(server: Large, reader: Reader) -> None:
        fault = await reader.read()
        assert fault is not None
        assert (fault.kind, fault.detail) == (FaultKind.TOO_MUCH, "texts")
        assert [one.what for one in reader.problems if "connect fewer" in one.what]
        assert reader.told.titles == []
        for i in range(40):
            del server.texts[f"n{i}"]
        assert await reader.read() is None
        assert reader.told.titles == ["item 40", "item 41"]

    with_large({f"n{i}": todo(f"n{i}", f"item {i}", f"DESCRIPTION:{'x' * 250_000}") for i in range(42)}, test)


def test_entries_that_are_together_too_much_for_one_answer_are_asked_for_in_several() -> None:
    async def test(server: Large, reader: Reader) -> None:
        assert await reader.read() is None
        assert reader.told.titles == ["item 0", "item 1", "item 2", "item 3"]
        assert [one.what for one in reader.problems] == ["an entry that is no calendar or too large; left out"]

    attached = "ATTACH;ENCODING=BASE64;VALUE=BINARY:"
    sizes = (3_000_000, 3_000_000, 3_000_000, 3_000_000, 11_000_000)
    with_large({f"n{i}": todo(f"n{i}", f"item {i}", attached + "A" * size) for i, size in enumerate(sizes)}, test)


def test_an_answer_of_very_many_small_parts_is_not_held() -> None:
    body = b"<a:multistatus xmlns:a='DAV:'>" + b"<a:x/>" * (ELEMENTS_MAX // 2) + b"</a:multistatus>"
    assert multistatus(body) == ([], "")
    with pytest.raises(Failed) as failed:
        multistatus(body.replace(b"<a:x/>", b"<a:x/><a:x/>"))
    assert failed.value.fault.kind is FaultKind.TOO_MUCH

"""A web server with one calendar on it, of events."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from connectors.sources.webcal import WebCal
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import MONDAY_AT_EIGHT, WEEK, Told, World, start

STAMP = "DTSTAMP:20261101T090000Z"


class CalendarServer(Loopback):
    def __init__(self) -> None:
        super().__init__()
        self.events: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.Response:
        text = "\r\n".join(("BEGIN:VCALENDAR", "VERSION:2.0", *self.events.values(), "END:VCALENDAR", ""))
        etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == etag:
            return web.Response(status=304, headers={"etag": etag})
        return web.Response(body=text.encode(), content_type="text/calendar", headers={"etag": etag})


def event(uid: str, title: str, *lines: str) -> str:
    return "\r\n".join(("BEGIN:VEVENT", f"UID:{uid}", STAMP, f"SUMMARY:{title}", *lines, "END:VEVENT"))


class WebCalWorld(World):
    name = "webcal"
    not_said = {  # noqa: RUF012 - as in the class above
        "cursor-lost-there": "the service keeps none"
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source = WebCal()
        self.service: CalendarServer = CalendarServer()

    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, {"url": f"{self.service.url}/ann.ics"}

    async def put(self, name: str, title: str) -> None:
        self.service.events[name] = event(name, title, "DTSTART:20261130T090000Z", "DTEND:20261130T100000Z")

    async def take(self, name: str) -> None:
        del self.service.events[name]

    async def put_at_nine_in_new_york(self, title: str) -> None:
        self.service.events["ny"] = event("ny", title, "DTSTART;TZID=America/New_York:20261130T090000", "DURATION:PT1H")

    async def put_weekly(self, title: str) -> None:
        when = "DTSTART;TZID=Europe/Berlin:20261130T080000"
        self.service.events["w"] = event("w", title, when, "DURATION:PT1H", "RRULE:FREQ=WEEKLY")

    def says_weekly(self, told: Told, title: str) -> None:
        assert sorted(map(start, told.there)) == [MONDAY_AT_EIGHT + i * WEEK for i in range(4)]

    async def put_odd(self) -> None:
        self.service.events["odd"] = event("odd", "Nobody knows when", "DTSTART:in the evening")

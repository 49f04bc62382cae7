"""A server that speaks what the source uses of the Calendar API v3, as its reference has it (calendarList.list, events.list)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from connectors.sources.google_calendar import GoogleCalendar
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import MONDAY_AT_EIGHT, WEEK, Told, World, start


class GoogleServer(Loopback):
    page = 2_000

    def __init__(self) -> None:
        super().__init__()
        self.calendars: dict[str, dict[str, dict[str, Any]]] = {"ann@example.org": {}}
        self.changed: dict[str, int] = {}
        self.clock = 0
        self.forgotten = 0
        self.until = ""
        """timeMax of the last full read, which what changed later is bound to as well."""

    def change(self, event: dict[str, Any], *, calendar: str = "ann@example.org") -> None:
        self.clock += 1
        self.calendars[calendar][event["id"]] = event
        self.changed[event["id"]] = self.clock

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.endswith("/users/me/calendarList"):
            items = [{"id": one, "selected": True, "primary": "@" in one} for one in self.calendars]
            return web.json_response({"kind": "calendar#calendarList", "items": items})
        calendar = unquote(request.raw_path.partition("/calendars/")[2].partition("/events")[0])
        asked = request.query
        if calendar not in self.calendars:
            return web.json_response({"error": {"code": 404}}, status=404)
        assert asked["singleEvents"] == "true"
        if token := asked.get("syncToken"):
            assert "timeMin" not in asked and "timeMax" not in asked
            if int(token) < self.forgotten:
                error = {"code": 410, "errors": [{"domain": "calendar", "reason": "fullSyncRequired"}]}
                return web.json_response({"error": error}, status=410)
        self.until = self.until if token else asked["timeMax"]
        since = int(token or 0)
        events = [one for key, one in self.calendars[calendar].items() if self.changed[key] > since]
        if not token:
            events = [one for one in events if one["status"] != "cancelled"]
        events = [one for one in events if one["status"] == "cancelled" or not _later(one["start"], self.until)]
        begin = int(asked.get("pageToken", 0))
        said: dict[str, Any] = {"kind": "calendar#events", "items": events[begin : begin + self.page]}
        if begin + self.page < len(events):
            said["nextPageToken"] = str(begin + self.page)
        else:
            said["nextSyncToken"] = str(self.clock)
        return web.json_response(said)


def event(name: str, title: str, begin: str, until: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "status": "confirmed",
        "summary": title,
        "updated": "2026-11-01T09:00:00.000Z",
        "start": {"dateTime": begin},
        "end": {"dateTime": until},
    } | more


class GoogleWorld(World):
    name = "google_calendar"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.service: GoogleServer = GoogleServer()

    @property
    def source(self) -> GoogleCalendar:
        return GoogleCalendar(self.service.url)

    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, {"access_token": "t1"}

    async def put(self, name: str, title: str) -> None:
        self.service.change(event(name, title, "2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z"))

    async def take(self, name: str) -> None:
        self.service.change({"id": name, "status": "cancelled"})

    async def forget_places(self) -> None:
        self.service.clock += 1
        self.service.forgotten = self.service.clock

    async def put_at_nine_in_new_york(self, title: str) -> None:
        when = {"dateTime": "2026-11-30T09:00:00-05:00", "timeZone": "America/New_York"}
        self.service.change(
            event("ny", title, "", "", start=when, end=when | {"dateTime": "2026-11-30T10:00:00-05:00"})
        )

    async def put_weekly(self, title: str) -> None:
        for i in range(52):
            begin = MONDAY_AT_EIGHT + i * WEEK
            self.service.change(event(f"w_{i}", title, _text(begin), _text(begin + timedelta(hours=1))))

    def says_weekly(self, told: Told, title: str) -> None:
        assert sorted(map(start, told.there)) == [MONDAY_AT_EIGHT + i * WEEK for i in range(4)]

    async def put_odd(self) -> None:
        self.service.change(event("odd", "Nobody knows when", "in the evening", "later"))


def _later(begins: dict[str, str], until: str) -> bool:
    when = begins.get("dateTime", "")
    return when[:4].isdigit() and datetime.fromisoformat(when) >= datetime.fromisoformat(until)


def _text(moment: datetime) -> str:
    return moment.isoformat()

"""What only Google Calendar does: limits in a 403, several calendars, a window that was fixed when a token began."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

from aiohttp import web

from connectors.sources.source import FaultKind
from tests.connectors.sources.google_world import GoogleWorld, event
from tests.connectors.sources.world import HOME, NOW, start


def with_google(folder: Path, test: Callable[[GoogleWorld], Awaitable[None]]) -> None:
    async def run() -> None:
        world = GoogleWorld(folder)
        async with world.running():
            await test(world)

    asyncio.run(run())


def test_a_limit_in_a_403_is_no_withdrawn_consent(tmp_path: Path) -> None:
    async def test(world: GoogleWorld) -> None:
        reader = world.reader()
        said = {"error": {"code": 403, "errors": [{"domain": "usageLimits", "reason": "rateLimitExceeded"}]}}
        world.service.fails = lambda _: web.json_response(said, status=403)
        fault = await reader.read()
        assert fault is not None
        assert fault.kind is FaultKind.RATE_LIMITED

    with_google(tmp_path, test)


def test_a_meeting_in_two_calendars_is_one_until_both_have_dropped_it(tmp_path: Path) -> None:
    async def test(world: GoogleWorld) -> None:
        meeting = event("m", "Review", "2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z")
        world.service.calendars["team"] = {}
        world.service.change(meeting)
        world.service.change(meeting, calendar="team")
        reader = world.reader()
        await reader.read()
        assert reader.told.titles == ["Review"]
        del world.service.calendars["team"]
        await reader.read(now=NOW + timedelta(minutes=5))
        assert reader.told.titles == ["Review"]
        await world.take("m")
        await reader.read(now=NOW + timedelta(minutes=10))
        assert reader.told.titles == []

    with_google(tmp_path, test)


def test_days_pass_and_later_events_come_into_view_though_nothing_changed(tmp_path: Path) -> None:
    async def test(world: GoogleWorld) -> None:
        await world.put_weekly("Bins")
        reader = world.reader()
        await reader.read()
        assert len(reader.told.there) == 4
        for days in range(1, 30):
            await reader.read(now=NOW + timedelta(days=days))
        latest = max(map(start, reader.told.there))
        assert latest == datetime(2027, 1, 25, 8, tzinfo=HOME), "four weeks ahead of 28 December"

    with_google(tmp_path, test)


def test_a_day_begins_where_the_person_lives_and_what_they_declined_takes_no_time(tmp_path: Path) -> None:
    async def test(world: GoogleWorld) -> None:
        day = {"start": {"date": "2026-12-01"}, "end": {"date": "2026-12-02"}}
        world.service.change(event("d", "Fair", "", "", transparency="transparent", **day))
        no = [{"self": True, "responseStatus": "declined"}]
        world.service.change(event("n", "No", "2026-11-30T09:00:00Z", "2026-11-30T10:00:00Z", attendees=no))
        reader = world.reader()
        await reader.read()
        fair = reader.told.one("Fair")
        assert start(fair) == datetime(2026, 12, 1, tzinfo=HOME)
        assert not fair.calendar_event_upserted.busy
        assert not reader.told.one("No").calendar_event_upserted.busy

    with_google(tmp_path, test)

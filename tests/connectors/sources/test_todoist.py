"""What only Todoist does: three kinds of dues, priorities the other way round, completion of what comes again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from connectors.sources.source import FaultKind, Outcome, write_back
from tests.connectors.sources.todoist_world import TodoistWorld, item
from tests.connectors.sources.world import HOME, NOW, Reader, due

OPERATION = "3f2a9c00-0000-4000-8000-000000000001"


def with_todoist(folder: Path, test: Callable[[TodoistWorld], Awaitable[None]]) -> None:
    async def run() -> None:
        world = TodoistWorld(folder)
        async with world.running():
            await test(world)

    asyncio.run(run())


async def done(reader: Reader, task: str, operation: str = OPERATION) -> Outcome | None:
    said = await write_back(reader.source, reader.access, reader.cursor, external_id=task, operation=operation)
    return said.outcome


def test_a_due_is_a_day_or_a_time_where_the_person_is_or_an_instant(tmp_path: Path) -> None:
    async def test(world: TodoistWorld) -> None:
        world.service.change(item("day", "day", due={"date": "2026-11-30"}))
        world.service.change(item("floating", "floating", due={"date": "2026-11-30T17:00:00"}))
        world.service.change(item("fixed", "fixed", due={"date": "2026-11-30T17:00:00Z", "timezone": "Asia/Tokyo"}))
        world.service.change(item("deadline", "deadline", deadline={"date": "2026-12-01"}))
        reader = world.reader()
        await reader.read()
        assert due(reader.told.one("day")) == datetime(2026, 11, 30, 23, 59, 59, tzinfo=HOME)
        assert due(reader.told.one("floating")) == datetime(2026, 11, 30, 17, tzinfo=HOME)
        assert due(reader.told.one("fixed")) == datetime(2026, 11, 30, 17, tzinfo=UTC)
        assert due(reader.told.one("deadline")) == datetime(2026, 12, 1, 23, 59, 59, tzinfo=HOME)

    with_todoist(tmp_path, test)


def test_its_priority_four_is_our_first_and_others_tasks_are_not_the_persons(tmp_path: Path) -> None:
    async def test(world: TodoistWorld) -> None:
        world.service.change(item("a", "urgent", priority=4, duration={"amount": 45, "unit": "minute"}))
        world.service.change(item("b", "plain [text](https://example.org)", priority=1))
        world.service.change(item("c", "somebody else's", responsible_uid="43"))
        world.service.change(item("d", "mine in a shared project", responsible_uid="42"))
        reader = world.reader()
        await reader.read()
        assert reader.told.titles == ["mine in a shared project", "plain text", "urgent"]
        urgent = reader.told.one("urgent").task_upserted
        assert (urgent.priority, urgent.estimated_minutes) == (1, 45)
        assert reader.told.one("plain text").task_upserted.priority == 0

    with_todoist(tmp_path, test)


def test_a_completion_elsewhere_is_told_as_one_and_once(tmp_path: Path) -> None:
    async def test(world: TodoistWorld) -> None:
        await world.put("a", "Call Mom")
        reader = world.reader()
        await reader.read()
        world.service.change(item("a", "Call Mom", checked=True, updated_at="2026-11-29T08:00:00.000000Z"))
        for minutes in (5, 10, 15):
            await reader.read(now=NOW + timedelta(minutes=minutes))
        assert [one.WhichOneof("payload") for one in reader.told.items.values()] == ["task_completed"]
        assert reader.told.counted == 2

    with_todoist(tmp_path, test)


def test_done_here_is_done_there_once(tmp_path: Path) -> None:
    async def test(world: TodoistWorld) -> None:
        await world.put("a", "Call Mom")
        reader = world.reader()
        await reader.read()
        assert await done(reader, "a") is Outcome.DONE
        assert await done(reader, "a") is Outcome.ALREADY
        assert await done(reader, "none") is Outcome.MISSING
        assert world.service.closed == [OPERATION]

    with_todoist(tmp_path, test)


def test_what_comes_again_moves_on_by_one_however_often_the_word_is_tried(tmp_path: Path) -> None:
    async def test(world: TodoistWorld) -> None:
        await world.put_weekly("Take out the bins")
        reader = world.reader()
        await reader.read()
        assert await done(reader, "w") is Outcome.DONE
        assert await done(reader, "w") is Outcome.ALREADY
        assert len(world.service.closed) == 1
        await reader.read(now=NOW + timedelta(minutes=5))
        assert due(reader.told.one("Take out the bins")) == datetime(2026, 12, 7, 8, tzinfo=HOME)

    with_todoist(tmp_path, test)


def test_a_task_that_was_put_off_there_meanwhile_is_a_conflict(tmp_path: Path) -> None:
    async def test(world: TodoistWorld) -> None:
        world.service.change(item("a", "Call Mom", due={"date": "2026-11-30", "is_recurring": False}))
        reader = world.reader()
        await reader.read()
        world.service.change(item("a", "Call Mom", due={"date": "2026-12-24", "is_recurring": False}))
        assert await done(reader, "a") is Outcome.CONFLICT
        assert not world.service.closed

    with_todoist(tmp_path, test)


def test_a_limit_that_is_said_in_the_body_alone_is_kept(tmp_path: Path) -> None:
    async def test(world: TodoistWorld) -> None:
        reader = world.reader()
        said = {"error": "Too many requests", "error_extra": {"retry_after": 240}}
        world.service.fails = lambda _: web.json_response(said, status=429)
        fault = await reader.read()
        assert fault is not None
        assert (fault.kind, fault.until_ms) == (FaultKind.RATE_LIMITED, int(NOW.timestamp() * 1000) + 240_000)

    with_todoist(tmp_path, test)

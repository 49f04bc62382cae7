"""A server that speaks what the source uses of Todoist's API v1, as its documentation has it (developer.todoist.com/api/v1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from connectors.sources.todoist import Todoist
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import MONDAY_AT_EIGHT, Told, World, due


class TodoistServer(Loopback):
    def __init__(self) -> None:
        super().__init__()
        self.items: dict[str, dict[str, Any]] = {}
        self.changed: dict[str, int] = {}
        self.clock = 0
        self.forgotten = 0
        """Tokens up to this are known no more."""
        self.closed: list[str] = []
        """Commands that were carried out, by their uuid."""

    def change(self, item: dict[str, Any]) -> None:
        self.clock += 1
        self.items[item["id"]] = item
        self.changed[item["id"]] = self.clock

    async def answer(self, request: web.Request) -> web.Response:
        if not request.headers.get("authorization", "").startswith("Bearer t"):
            return web.json_response({"error": "Unauthorized", "error_code": 401}, status=401)
        if request.path.startswith("/api/v1/tasks/"):
            item = self.items.get(request.path.rpartition("/")[2])
            if item is None or item["is_deleted"]:
                return web.json_response({"error": "Task not found", "error_code": 478}, status=404)
            return web.json_response(item)
        assert request.path == "/api/v1/sync" and request.method == "POST"
        form = await request.post()
        if "commands" in form:
            return web.json_response({"sync_status": self.carry_out(json.loads(str(form["commands"])))})
        token = str(form["sync_token"])
        full = token == "*" or int(token) < self.forgotten
        since = 0 if full else int(token)
        items = [one for key, one in self.items.items() if self.changed[key] > since]
        if full:
            items = [one for one in items if not one["checked"] and not one["is_deleted"]]
        said = {"full_sync": full, "sync_token": str(self.clock), "items": items, "user": {"id": "42"}}
        return web.json_response(said)

    def carry_out(self, commands: list[dict[str, Any]]) -> dict[str, Any]:
        said: dict[str, Any] = {}
        for one in commands:
            assert one["type"] == "item_close"
            said[one["uuid"]] = "ok"
            if one["uuid"] in self.closed:
                continue
            self.closed.append(one["uuid"])
            item = dict(self.items[one["args"]["id"]])
            if item["due"] and item["due"]["is_recurring"]:
                item["due"] = item["due"] | {"date": "2026-12-07T08:00:00"}
            else:
                item["checked"] = True
            self.change(item)
        return said


def item(name: str, title: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "user_id": "42",
        "project_id": "p1",
        "content": title,
        "description": "",
        "priority": 1,
        "due": None,
        "deadline": None,
        "duration": None,
        "labels": [],
        "responsible_uid": None,
        "checked": False,
        "is_deleted": False,
        "added_at": "2026-11-01T09:00:00.000000Z",
        "updated_at": "2026-11-01T09:00:00.000000Z",
    } | more


class TodoistWorld(World):
    name = "todoist"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.service: TodoistServer = TodoistServer()

    @property
    def source(self) -> Todoist:
        return Todoist(self.service.url)

    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, {"token": "t1"}

    async def put(self, name: str, title: str) -> None:
        self.service.change(item(name, title))

    async def take(self, name: str) -> None:
        self.service.change(self.service.items[name] | {"is_deleted": True})

    async def forget_places(self) -> None:
        self.service.clock += 1
        self.service.forgotten = self.service.clock

    async def put_at_nine_in_new_york(self, title: str) -> None:
        when = {"date": "2026-11-30T14:00:00Z", "timezone": "America/New_York", "is_recurring": False}
        self.service.change(item("ny", title, due=when))

    async def put_weekly(self, title: str) -> None:
        when = {"date": "2026-11-30T08:00:00", "timezone": None, "is_recurring": True, "string": "every monday at 8"}
        self.service.change(item("w", title, due=when))

    def says_weekly(self, told: Told, title: str) -> None:
        assert due(told.one(title)) == MONDAY_AT_EIGHT

    async def put_odd(self) -> None:
        self.service.change(item("odd", "Nobody knows when", due={"date": "in the evening"}))
        self.service.change(item("nothing", "", content=None))

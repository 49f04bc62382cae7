"""A server that speaks what the source uses of GitHub's REST API, as its documentation has it (GET /issues)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from connectors.sources.github import GitHub
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import World


class GitHubServer(Loopback):
    def __init__(self) -> None:
        super().__init__()
        self.issues: dict[str, Any] = {}
        self.not_modified = 0

    async def answer(self, request: web.Request) -> web.Response:
        assert request.path == "/issues"
        asked = request.query
        assert (asked["filter"], asked["state"]) == ("assigned", "open")
        begin = (int(asked["page"]) - 1) * int(asked["per_page"])
        issues = list(self.issues.values())
        body = json.dumps(issues[begin : begin + int(asked["per_page"])]).encode()
        etag = f'W/"{hashlib.sha256(body).hexdigest()}"'
        headers = {"etag": etag}
        if begin + int(asked["per_page"]) < len(issues):
            headers["link"] = f'<{self.url}/issues?page={int(asked["page"]) + 1}>; rel="next"'
        if request.headers.get("if-none-match") == etag:
            self.not_modified += 1
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type="application/json", headers=headers)


def issue(number: int, title: str, **more: Any) -> dict[str, Any]:
    return {
        "id": 1_000 + number,
        "number": number,
        "title": title,
        "body": None,
        "html_url": f"https://github.com/oo/oo/issues/{number}",
        "labels": [{"id": 1, "name": "bug"}],
        "repository": {"id": 7, "full_name": "oo/oo"},
        "updated_at": "2026-11-01T09:00:00Z",
    } | more


class GitHubWorld(World):
    name = "github"
    not_said = {  # noqa: RUF012 - as in the class above
        "cursor-lost-there": "the service keeps none",
        "time-zones": "an issue has no due date",
        "recurring": "an issue has no due date",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.service: GitHubServer = GitHubServer()
        self.numbers: dict[str, int] = {}

    @property
    def source(self) -> GitHub:
        return GitHub(self.service.url)

    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, {"token": "t1"}

    async def put(self, name: str, title: str) -> None:
        number = self.numbers.setdefault(name, len(self.numbers) + 1)
        self.service.issues[name] = issue(number, title)

    async def take(self, name: str) -> None:
        del self.service.issues[name]

    async def put_odd(self) -> None:
        self.service.issues["odd"] = {"id": None, "title": 7}
        self.service.issues["text"] = "not an issue"

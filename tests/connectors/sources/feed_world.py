"""A web server with one feed on it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from pathlib import Path

from aiohttp import web

from connectors.sources.feed import ENTRIES_MAX, Feed
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import World


class FeedServer(Loopback):
    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, str] = {}

    async def answer(self, request: web.Request) -> web.Response:
        head = '<?xml version="1.0"?><rss version="2.0"><channel><title>News</title><link>https://example.org</link>'
        text = f"{head}{''.join(self.entries.values())}</channel></rss>"
        etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == etag:
            return web.Response(status=304, headers={"etag": etag})
        return web.Response(body=text.encode(), content_type="application/rss+xml", headers={"etag": etag})


def entry(name: str, title: str, *, about: str = "", when: str = "Sat, 28 Nov 2026 09:00:00 GMT") -> str:
    return (
        f"<item><guid>{name}</guid><title>{escape(title)}</title><link>https://example.org/{name}</link>"
        f"<description>{escape(about)}</description><pubDate>{when}</pubDate></item>"
    )


class FeedWorld(World):
    name = "feed"
    held = ENTRIES_MAX
    not_said = {  # noqa: RUF012 - as in the class above
        "cursor-lost-there": "the service keeps none",
        "recurring": "an entry does not come again",
        "time-zones": "an entry is due at no time",
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source = Feed()
        self.service: FeedServer = FeedServer()

    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, {"url": f"{self.service.url}/news.xml"}

    async def put(self, name: str, title: str) -> None:
        self.service.entries[name] = entry(name, title)

    async def take(self, name: str) -> None:
        del self.service.entries[name]

    async def put_odd(self) -> None:
        self.service.entries["odd"] = "<item><description>no title and no address</description></item>"

"""What only feeds do: other people's HTML, both formats, old entries."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from tests.connectors.sources.feed_world import FeedWorld, entry

ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>Notes</title>
<id>urn:f</id><updated>2026-11-28T09:00:00Z</updated><entry><title type="html">A &lt;b&gt;bold&lt;/b&gt; word</title>
<id>urn:1</id><updated>2026-11-28T09:00:00Z</updated><link href="https://example.org/1"/>
<summary type="html">&lt;script&gt;alert(1)&lt;/script&gt;Two &lt;i&gt;words&lt;/i&gt;</summary></entry></feed>"""


def test_no_tag_of_a_feed_goes_further_and_old_entries_are_nothing_to_read_now(tmp_path: Path) -> None:
    async def run() -> None:
        world = FeedWorld(tmp_path)
        async with world.running():
            about = '<p onclick="x()">Two</p><script>alert(1)</script><img src=x onerror=alert(1)> &lt;words&gt;'
            world.service.entries["a"] = entry("a", "A <b>bold</b> word", about=about)
            world.service.entries["old"] = entry("old", "Old", when="Sat, 01 Aug 2026 09:00:00 GMT")
            reader = world.reader()
            await reader.read()
            assert reader.told.titles == ["A bold word"]
            said = reader.told.one("A bold word").task_upserted
            assert (said.notes, said.url) == ("Two <words>", "https://example.org/a")

    asyncio.run(run())


def test_atom_is_read_as_rss_is(tmp_path: Path) -> None:
    async def run() -> None:
        world = FeedWorld(tmp_path)
        async with world.running():
            world.service.fails = lambda _: web.Response(body=ATOM.encode(), content_type="application/atom+xml")
            reader = world.reader()
            assert await reader.read() is None
            assert reader.told.titles == ["A bold word"]
            assert reader.told.one("A bold word").task_upserted.notes == "Two words"

    asyncio.run(run())

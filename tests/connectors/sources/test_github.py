"""What only GitHub does: three signs of a limit, and pages that cost nothing where they are as they were."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from connectors.sources.source import FaultKind
from tests.connectors.sources.github_world import GitHubWorld
from tests.connectors.sources.loopback import always
from tests.connectors.sources.world import NOW

NOW_S = int(NOW.timestamp())


def with_github(folder: Path, test: Callable[[GitHubWorld], Awaitable[None]]) -> None:
    async def run() -> None:
        world = GitHubWorld(folder)
        async with world.running():
            await test(world)

    asyncio.run(run())


def test_each_sign_of_a_limit_is_one_and_not_a_withdrawn_token(tmp_path: Path) -> None:
    async def test(world: GitHubWorld) -> None:
        reader = world.reader()
        signs = (
            (always(403, headers={"retry-after": "30"}), 30),
            (always(429, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW_S + 600)}), 600),
            (always(403, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW_S + 600)}), 600),
            (always(403, text='{"message": "You have exceeded a secondary rate limit."}'), 60),
        )
        for fails, wait_s in signs:
            world.service.fails = fails
            fault = await reader.read()
            assert fault is not None
            assert (fault.kind, fault.until_ms) == (FaultKind.RATE_LIMITED, (NOW_S + wait_s) * 1000)
        world.service.fails = always(403, text='{"message": "Resource not accessible by personal access token"}')
        fault = await reader.read()
        assert fault is not None
        assert fault.kind is FaultKind.TOKEN_REVOKED

    with_github(tmp_path, test)


def test_a_page_that_is_as_it_was_is_not_sent_again_and_not_forgotten(tmp_path: Path) -> None:
    async def test(world: GitHubWorld) -> None:
        await world.put_many(150)
        reader = world.reader()
        await reader.read()
        await reader.read(now=NOW + timedelta(minutes=5))
        assert world.service.not_modified == 2
        await world.put("n00149", "changed")
        await reader.settle(now=NOW + timedelta(minutes=10))
        assert len(reader.told.there) == 150
        assert "changed" in reader.told.titles
        assert reader.told.counted == 151
        assert set(reader.told.one("changed").task_upserted.labels) == {"oo/oo", "bug"}

    with_github(tmp_path, test)

"""Tracked reads against a real Valkey: answers and changes come in Valkey's order, and a silence is known as one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from valkey.asyncio import Valkey

from connectors.tracked import NAME, TrackedReads
from connectors.valkey import READ_SHA, Standing, TipStore, Unreachable
from tests.connectors.test_valkey import tip
from tests.serving.valkeys import ValkeyServer

Event = tuple[str, str | None, int | None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


class Reader:
    """Tracked reads that write down what they are told: ("kept", user, offset) and ("changed", user, None)."""

    def __init__(self, url: str, **settings: float) -> None:
        self.events: list[Event] = []
        self.heard_at_all: list[float] = []
        """What was trusted at the moment when everybody was told."""
        self.reads = TrackedReads(url, keep=self._keep, changed=self._changed, **settings)
        self.writer = TipStore(url)
        self.plain = Valkey.from_url(url)

    def _keep(self, user_id: str, standing: Standing | None) -> Standing | None:
        self.events.append(("kept", user_id, standing.offset if standing else None))
        return standing

    def _changed(self, user_id: str | None) -> None:
        self.events.append(("changed", user_id, None))
        if user_id is None:
            self.heard_at_all.append(self.reads.heard_s)

    async def heard(self) -> None:
        """Until all that Valkey did so far has been told."""
        begun_s = self.reads.now_s()
        while self.reads.heard_s <= begun_s:
            await asyncio.sleep(0.002)

    async def offset(self, user_id: str) -> int | None:
        standing = await self.reads.read(user_id)
        return standing.offset if standing else None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reads.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.reads.close()
            await self.writer.close()
            await self.plain.aclose()


def run(server: ValkeyServer, work: Callable[[Reader], Awaitable[None]], **settings: float) -> None:
    async def main() -> None:
        reader = Reader(server.url, **settings)
        async with reader.running():
            await work(reader)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_write_after_a_read_is_told_before_the_next_sign_of_life(server: ValkeyServer) -> None:
    async def work(reader: Reader) -> None:
        assert await reader.offset("told") is None
        await reader.writer.publish_tips([tip("told", offset=1)])
        await reader.heard()
        assert reader.events == [("changed", None, None), ("kept", "told", None), ("changed", "told", None)]
        assert await reader.offset("told") == 1

    run(server, work)


def test_a_spent_marker_is_told(server: ValkeyServer) -> None:
    async def work(reader: Reader) -> None:
        await reader.writer.publish_tips([tip("spent", offset=1)])
        assert await reader.offset("spent") == 1
        await reader.writer.mark_spent("spent", "d1")
        await reader.heard()
        assert reader.events[-1] == ("changed", "spent", None)
        standing = await reader.reads.read("spent")
        assert standing is not None and standing.spent

    run(server, work)


def test_users_who_were_not_read_are_not_told_of(server: ValkeyServer) -> None:
    async def work(reader: Reader) -> None:
        await reader.offset("read")
        await reader.writer.publish_tips([tip("unread", offset=1)])
        await reader.heard()
        assert ("changed", "unread", None) not in reader.events

    run(server, work)


@pytest.mark.parametrize("user_id", ["a}b{c", "ß☎", "a:b c"])
def test_a_users_name_comes_back_as_it_was(server: ValkeyServer, user_id: str) -> None:
    async def work(reader: Reader) -> None:
        await reader.offset(user_id)
        await reader.writer.publish_tips([tip(user_id, offset=1)])
        await reader.heard()
        assert reader.events[-1] == ("changed", user_id, None)

    run(server, work)


def test_an_answer_that_is_old_when_it_arrives_is_followed_by_its_change(server: ValkeyServer) -> None:
    async def work(reader: Reader) -> None:
        await reader.writer.publish_tips([tip("race", offset=1)])
        await reader.heard()
        line = reader.reads._line
        assert line is not None
        # Nothing is read from the socket while Valkey answers, and then changes what it answered.
        transport = line.connection._reader._transport
        transport.pause_reading()
        before = await calls(reader)
        asked = asyncio.create_task(reader.offset("race"))
        while await calls(reader) == before:
            await asyncio.sleep(0.002)
        await reader.writer.publish_tips([tip("race", offset=2)])
        transport.resume_reading()
        assert await asked == 1
        await reader.heard()
        assert reader.events[-2:] == [("kept", "race", 1), ("changed", "race", None)]

    # A beat that waits while nothing is read must not end the connection.
    run(server, work, timeout_s=30.0)


def test_an_emptied_valkey_is_told_for_everybody(server: ValkeyServer) -> None:
    async def work(reader: Reader) -> None:
        await reader.writer.publish_tips([tip("flush", offset=1)])
        assert await reader.offset("flush") == 1
        await reader.plain.flushall()
        await reader.heard()
        assert reader.events[-1] == ("changed", None, None)
        assert await reader.offset("flush") is None

    run(server, work)


def test_a_killed_connection_is_known_and_everybody_is_told_before_the_next_answer(server: ValkeyServer) -> None:
    async def work(reader: Reader) -> None:
        await reader.writer.publish_tips([tip("kill", offset=1)])
        assert await reader.offset("kill") == 1
        line = reader.reads._line
        await kill(reader)
        while reader.reads._line is line:
            await asyncio.sleep(0.002)
        await reader.writer.publish_tips([tip("kill", offset=2)])
        assert await reader.offset("kill") == 2
        since = reader.events[reader.events.index(("kept", "kill", 1)) + 1 :]
        assert since[0] == ("changed", None, None)
        # At the first connection and at the second nothing had been heard.
        assert reader.heard_at_all == [float("-inf")] * 2

    run(server, work, retry_s=0.01)


def test_a_valkey_that_hangs_gives_no_sign_of_life_and_reads_fail(tmp_path: Path) -> None:
    async def work(reader: Reader) -> None:
        await reader.heard()
        server.pause()
        stopped_s = reader.reads.now_s()
        with pytest.raises(Unreachable):
            await reader.offset("hang")
        assert reader.reads.heard_s <= stopped_s
        server.resume()
        await reader.heard()
        assert await reader.offset("hang") is None

    with ValkeyServer(tmp_path) as server:
        run(server, work, timeout_s=0.3, retry_s=0.01)


def test_reads_go_on_as_soon_as_valkey_is_back(tmp_path: Path) -> None:
    async def work(reader: Reader) -> None:
        await reader.heard()
        server.stop()
        with pytest.raises(Unreachable):
            await reader.offset("away")
        server.start()
        # Nobody waits for the next attempt in an hour.
        assert await reader.offset("away") is None

    with ValkeyServer(tmp_path) as server:
        run(server, work, retry_s=3600.0)


def test_a_valkey_that_forgot_its_scripts_is_taught_again(server: ValkeyServer) -> None:
    async def work(reader: Reader) -> None:
        await reader.writer.publish_tips([tip("taught", offset=1)])
        await reader.plain.script_flush()
        assert await reader.offset("taught") == 1
        assert await reader.plain.script_exists(READ_SHA) == [True]

    run(server, work)


def test_bytes_that_are_no_tip_fail_for_their_reader_alone(server: ValkeyServer) -> None:
    async def work(reader: Reader) -> None:
        fields = {"epoch": "0", "offset": "1", "decision_id": "d", "tip": b"\xff\xff"}
        await reader.plain.hset("oo:tip:{broken}", mapping=fields)
        line = (await reader.heard(), reader.reads._line)[1]
        with pytest.raises(Exception, match="parsing"):
            await reader.offset("broken")
        assert await reader.offset("whole") is None
        assert reader.reads._line is line

    run(server, work)


def test_without_the_right_to_track_nothing_is_read(server: ValkeyServer) -> None:
    async def main() -> None:
        plain = Valkey.from_url(server.url)
        await plain.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "&*", "+@all", "-client|tracking")
        await plain.aclose()
        reader = Reader(server.url.replace("valkey://", "valkey://blind:pw@"))
        async with reader.running():
            with pytest.raises(Unreachable):
                await reader.offset("blind")
        assert reader.events == []

    asyncio.run(main())


def test_another_database_and_a_password_are_used_as_the_url_says(server: ValkeyServer) -> None:
    async def main() -> None:
        plain = Valkey.from_url(server.url)
        await plain.execute_command("ACL", "SETUSER", "ada", "on", ">pw", "~*", "&*", "+@all")
        await plain.aclose()
        reader = Reader(server.url.replace("valkey://", "valkey://ada:pw@").removesuffix("/0") + "/3")
        async with reader.running():
            await reader.writer.publish_tips([tip("third", offset=3)])
            assert await reader.offset("third") == 3
            await reader.writer.publish_tips([tip("third", offset=4)])
            await reader.heard()
            assert reader.events[-1] == ("changed", "third", None)

    asyncio.run(asyncio.wait_for(main(), 60))


async def calls(reader: Reader) -> int:
    """How often Valkey has run a read."""
    stats = await reader.plain.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def kill(reader: Reader) -> None:
    for client in await reader.plain.client_list():
        if client["name"] == NAME:
            await reader.plain.client_kill_filter(_id=client["id"])

"""Publish on real servers: Valkey holds every tip, also after it was emptied, was away, or came back older."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from valkey import Valkey
from valkey.exceptions import ValkeyError

from agents.publish import Publisher, Source
from agents.refuse import DeadLetters
from connectors.tip_progress import TipProgress
from connectors.valkey import TipStore, Written
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision, Tip
from oo.v1.erased_pb2 import Erased
from streams.producer import Producer
from streams.reader import end_offsets, read_partition
from streams.schemas import Schemas
from tables.leavers import Leaving
from tests.agents.process import AgentProcess, Topics, until
from tests.serving.valkeys import ValkeyServer

EPOCH = bytes(range(16))


@dataclass(frozen=True, slots=True)
class Line:
    """Topics, the process, and a Valkey of its own behind it."""

    topics: Topics
    process: AgentProcess
    valkey: ValkeyServer

    def served(self) -> dict[str, int]:
        """The journal offset of each user's tip; nothing while Valkey does not answer."""
        try:
            with Valkey.from_url(self.valkey.url) as client:
                keys = client.keys("oo:tip:*")
                return {key.decode()[8:-1]: int(client.hget(key, "offset")) for key in keys}
        except (ValkeyError, OSError):
            return {}

    def until_served(self, wanted: dict[str, int]) -> None:
        until(lambda: self.served() == wanted, alive=self.process)

    def until_committed(self, offset: int) -> None:
        until(lambda: self.topics.committed("publish", "tips") == offset, alive=self.process)

    def client(self) -> Valkey:
        return Valkey.from_url(self.valkey.url)


@pytest.fixture
def line(servers: RunningStack, tmp_path: Path) -> Iterator[Line]:
    (tmp_path / "valkey").mkdir()
    with ValkeyServer(tmp_path / "valkey") as valkey:
        topics = Topics(servers)
        process = AgentProcess("publish", servers, topics, tmp_path, {"OO_VALKEY_URL": valkey.url}).start()
        try:
            yield Line(topics, process, valkey)
        finally:
            if process.running():
                process.kill()
            topics.close()


async def nobody() -> dict[int, int]:
    """Where the topic of erasures ends."""
    return {}


def tip(user: str, offset: int) -> Tip:
    made = Tip(user_id=user, decision_id=f"{user}-{offset}", decided_ms=offset, title="Rest")
    made.journal.topic_id = EPOCH
    made.journal.offset = offset
    return made


def test_each_users_newest_tip_is_served_and_what_is_no_tip_is_a_dead_letter(line: Line) -> None:
    line.topics.produce("tips", [tip("alice", 5), b"garbage", tip("bob", 6), tip("alice", 4)])
    line.until_served({"alice": 5, "bob": 6})
    line.until_committed(4)
    until(lambda: len(line.topics.dead_letters()) == 1, alive=line.process)
    (letter,) = line.topics.dead_letters()
    assert (letter.topic, letter.offset, letter.reason) == (f"{line.topics.prefix}tips", 1, "no-frame")
    assert line.served() == {"alice": 5, "bob": 6}


def test_of_who_left_an_empty_tip_stands_and_nothing_else_also_where_a_zombies_tip_is_the_last(line: Line) -> None:
    journal_id = line.topics.topic_id("journal")

    def of(user: str, offset: int) -> Tip:
        made = tip(user, offset)
        made.journal.topic_id = journal_id
        return made

    line.topics.produce("tips", [of("al*ce", 5), of("alice", 5), of("bob", 6)])
    line.until_served({"al*ce": 5, "alice": 5, "bob": 6})
    beside = ["oo:spent:{al*ce}", "oo:idem:{al*ce}:1", "oo:spent:{alice}", "oo:idem:{alice}:1"]
    with line.client() as client:
        client.zadd("oo:spent:{al*ce}", {"d": 1})
        client.zadd("oo:spent:{alice}", {"d": 1})
        client.mset({name: "k" for name in beside if "idem" in name})
        word = Erased(user_id="al*ce", receipt="receipt-of-leaving")
        word.journal.topic_id, word.journal.offset = journal_id, 7
        empty = Tip(user_id="al*ce", journal=word.journal, kind=Decision.NONE)
        line.topics.produce("erasures", [word])
        silence = of("alice", 8)
        silence.decision_id, silence.title, silence.valid_until_ms = "", "", 9
        line.topics.produce("tips", [empty, silence])
        line.until_served({"al*ce": 7, "alice": 8, "bob": 6})
        line.until_committed(5)
        assert [name for name in beside if client.exists(name)] == beside[2:]

        line.topics.produce("tips", [of("al*ce", 6)])  # a worker's that was stopped, and woke up
        line.until_committed(6)
        assert line.served() == {"al*ce": 7, "alice": 8, "bob": 6}

        client.flushall()
        line.until_served({"al*ce": 7, "alice": 8, "bob": 6})


def test_a_tip_of_a_life_that_ended_is_not_served_though_nothing_newer_stands_in_the_topic(line: Line) -> None:
    # As after the cleaner, which keeps the last of each: a woken worker's.
    line.process.kill()
    word = Erased(user_id="alice", receipt="receipt-of-leaving")
    word.journal.topic_id, word.journal.offset = line.topics.topic_id("journal"), 7
    zombies, bobs = tip("alice", 6), tip("bob", 6)
    zombies.journal.topic_id = bobs.journal.topic_id = word.journal.topic_id
    line.topics.produce("erasures", [word])
    line.topics.produce("tips", [zombies, bobs])
    line.process.start()
    line.until_served({"bob": 6})
    line.until_committed(2)
    assert line.served() == {"bob": 6}


def test_valkey_emptied_while_no_tip_comes_is_filled_again(line: Line) -> None:
    line.topics.produce("tips", [tip(f"u{number}", number) for number in range(500)])
    wanted = {f"u{number}": number for number in range(500)}
    line.until_served(wanted)
    line.until_committed(500)
    with line.client() as client:
        client.flushall()
    line.until_served(wanted)
    assert line.topics.committed("publish", "tips") == 500


def test_an_emptied_valkey_is_filled_with_newest_tips_only(line: Line) -> None:
    line.topics.produce("tips", [tip("alice", number) for number in range(300)])
    line.until_served({"alice": 299})
    line.until_committed(300)
    with line.client() as client, client.pubsub() as announced:
        announced.subscribe("oo:tips:{alice}")
        assert announced.get_message(timeout=5) is not None
        client.flushall()
        line.until_served({"alice": 299})
        first = announced.get_message(timeout=5)
        assert first is not None
        assert Tip.FromString(first["data"]).journal.offset == 299
        assert announced.get_message(timeout=1) is None


def test_valkey_emptied_under_a_stream_of_tips_is_filled_again(line: Line) -> None:
    for part in range(10):
        line.topics.produce("tips", [tip(f"u{number}", number) for number in range(part * 100, part * 100 + 100)])
        if part in {3, 6}:
            until(lambda: len(line.served()) > 0, alive=line.process)
            with line.client() as client:
                client.flushall()
    line.until_served({f"u{number}": number for number in range(1000)})


def test_tips_that_come_while_valkey_is_away_are_committed_only_when_it_has_them(line: Line) -> None:
    line.topics.produce("tips", [tip("before", 1)])
    line.until_served({"before": 1})
    line.until_committed(1)
    line.valkey.stop()
    line.topics.produce("tips", [tip("during", 2)])
    until(lambda: "valkey.unavailable" in line.process.log(), alive=line.process)
    assert line.topics.committed("publish", "tips") == 1
    # It comes back empty: what was committed before is written again as well.
    line.valkey.start()
    line.until_served({"before": 1, "during": 2})
    line.until_committed(2)
    assert line.process.running()


def test_valkey_emptied_while_the_process_was_away_is_filled_at_its_start(line: Line) -> None:
    line.topics.produce("tips", [tip("alice", 1)])
    line.until_served({"alice": 1})
    line.until_committed(1)
    line.process.kill()
    with line.client() as client:
        client.flushall()
    line.process.start()
    line.until_served({"alice": 1})


def test_valkey_that_came_back_older_is_brought_up_from_where_it_stands(line: Line) -> None:
    line.topics.produce("tips", [tip("alice", 1), tip("bob", 2), tip("carol", 3)])
    line.until_served({"alice": 1, "bob": 2, "carol": 3})
    line.until_committed(3)
    topic_id = line.topics.topic_id("tips").hex()
    with line.client() as client:
        # As a copy of some seconds ago has it: the later tips are gone, and the mark says so.
        client.delete("oo:tip:{bob}", "oo:tip:{carol}")
        assert client.hget("oo:published", "0") == f"{topic_id}:3".encode()
        client.hset("oo:published", "0", f"{topic_id}:1")
        line.until_served({"alice": 1, "bob": 2, "carol": 3})
        until(lambda: client.hget("oo:published", "0") == f"{topic_id}:3".encode(), alive=line.process)


def test_valkey_emptied_between_a_tip_and_its_mark_while_it_is_filled_from_nothing_is_filled_again(
    servers: RunningStack, tmp_path: Path
) -> None:
    topics = Topics(servers)
    (tmp_path / "valkey").mkdir()

    async def fill(url: str) -> None:
        async def end(number: int) -> int:
            return (await end_offsets(servers.cluster, f"{topics.prefix}tips"))[number]

        name = f"{topics.prefix}tips"
        schemas = Schemas(topics.cluster)
        await schemas.register()
        topic = Source(
            name="tips",
            topic_id=EPOCH,
            end=end,
            read=lambda number, start, stop: read_partition(servers.cluster, name, number, start=start, end=stop),
        )
        store, progress = EmptiedOnce(url), TipProgress(url)
        producer = Producer(servers.cluster)
        letters = DeadLetters(producer=producer, schemas=schemas, topic=f"{topics.prefix}dead-letters", topic_ids={})
        publisher = Publisher(
            topic=topic,
            store=store,
            progress=progress,
            schemas=schemas,
            dead_letters=letters,
            leaving=Leaving(journal_id=b"", schemas=schemas, ends=nobody),
        )
        await publisher.assign({0})
        await store.close()
        await progress.close()
        await producer.close()
        schemas.close()

    topics.produce("tips", [tip("alice", 1), tip("bob", 2)])
    with ValkeyServer(tmp_path / "valkey") as valkey:
        asyncio.run(fill(valkey.url))
        with Valkey.from_url(valkey.url) as client:
            assert sorted(client.keys("oo:tip:*")) == [b"oo:tip:{alice}", b"oo:tip:{bob}"]
    topics.close()


class EmptiedOnce(TipStore):
    """A Valkey that is emptied right after the first tips were written."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._emptied = False

    async def publish_tips(self, tips: Sequence[Tip], **more: Any) -> Written:
        written = await super().publish_tips(tips, **more)
        if not self._emptied:
            self._emptied = True
            await self._client.flushall()
        return written


@pytest.mark.parametrize("mark", ["garbage", "ff" * 16 + ":9", "{id}:999"])
def test_a_mark_of_another_topic_or_past_the_end_is_not_believed(line: Line, mark: str) -> None:
    line.topics.produce("tips", [tip("alice", 1)])
    line.until_served({"alice": 1})
    line.until_committed(1)
    with line.client() as client:
        client.delete("oo:tip:{alice}")
        client.hset("oo:published", "0", mark.replace("{id}", line.topics.topic_id("tips").hex()))
    line.until_served({"alice": 1})


def test_it_ends_when_it_is_told_to_and_goes_on_where_it_was(line: Line) -> None:
    line.topics.produce("tips", [tip("alice", 1)])
    line.until_served({"alice": 1})
    assert line.process.stop() == 0
    line.topics.produce("tips", [tip("alice", 2)])
    line.process.start()
    line.until_served({"alice": 2})

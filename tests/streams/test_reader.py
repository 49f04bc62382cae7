"""Reading without a group on a real broker: exact ends, holes, recreated topics."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from streams.cluster import Cluster
from streams.reader import (
    CONSUMED_AT_ONCE,
    Tail,
    bounds,
    committed,
    end_offsets,
    read_partition,
    read_values,
    topic_ids,
)
from tests.streams.line import Line, create_topic


def values(bootstrap: str, topic: str, *, start: int = 0, end: int | None = None, ours: bool = False) -> list[str]:
    async def read() -> list[str]:
        return [
            (record.value or b"").decode()
            async for records in read_partition(Cluster(bootstrap), topic, 0, start=start, end=end, ours=ours)
            for record in records
        ]

    return asyncio.run(read())


def test_a_bounded_read_keeps_its_bounds(line: Line) -> None:
    line.send("abcdef")
    assert values(line.bootstrap, line.source) == list("abcdef")
    assert values(line.bootstrap, line.source, start=2, end=4) == list("cd")
    assert values(line.bootstrap, line.source, start=6) == []
    assert values(line.bootstrap, line.source, start=4, end=100) == list("ef")


def test_others_have_their_turn_while_what_is_asked_for_is_always_there(line: Line) -> None:
    line.send([f"{number}" for number in range(4 * CONSUMED_AT_ONCE)])

    async def most_at_once() -> int:
        turns, met, most = 0, -1, 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(others())
        async for records in read_values(Cluster(line.bootstrap), line.source, 0):
            assert turns > met
            most, met = max(most, len(records)), turns
            time.sleep(0.02)  # So that more has come than is taken at once.
        beside.cancel()
        return most

    assert asyncio.run(most_at_once()) == CONSUMED_AT_ONCE


def test_an_end_that_is_only_a_hole_does_not_hang_the_read(line: Line) -> None:
    line.send("ab", transaction="commit")  # 0 1, marker 2
    while asyncio.run(end_offsets(Cluster(line.bootstrap), line.source))[0] < 3:
        pass  # the marker is written after the commit has returned
    assert values(line.bootstrap, line.source) == list("ab")
    assert values(line.bootstrap, line.source, start=2) == []


def test_of_a_transaction_a_read_has_only_what_is_committed(line: Line) -> None:
    line.send(["before"])
    line.send(["aborted"], transaction="abort")
    transaction = line.begin(["open"])
    line.send(["behind it"])
    assert values(line.bootstrap, line.source) == ["before"]
    transaction.commit_transaction(30)
    while asyncio.run(end_offsets(Cluster(line.bootstrap), line.source))[0] < 6:
        pass
    assert values(line.bootstrap, line.source) == ["before", "open", "behind it"]


def test_a_topic_of_which_the_broker_does_not_tell_yet_is_asked_for_until_it_does(bootstrap: str) -> None:
    name = f"soon-{uuid.uuid4().hex[:8]}"

    async def asked_too_early() -> tuple[int, int]:
        asking = asyncio.create_task(bounds(Cluster(bootstrap), name, 0))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(create_topic, bootstrap, name)
        return await asking

    # librdkafka 2.16 answers _NOENT ("No leaders found"), where the broker itself would say that there is no leader yet.
    assert asyncio.run(asked_too_early()) == (0, 0)


def test_a_transaction_left_open_hides_nothing_of_a_changelog(line: Line) -> None:
    transaction = line.begin(["a stranger's"])
    line.send(["ours"])
    assert values(line.bootstrap, line.source, ours=True) == ["a stranger's", "ours"]
    assert asyncio.run(bounds(Cluster(line.bootstrap), line.source, 0)) == (0, 2)
    transaction.abort_transaction(30)


def test_a_read_starts_at_what_retention_has_left(line: Line) -> None:
    line.send("abcd")
    admin, upto = AdminClient({"bootstrap.servers": line.bootstrap}), TopicPartition(line.source, 0, 2)
    admin.delete_records([upto])[upto].result(30)
    assert values(line.bootstrap, line.source) == list("cd")


def test_a_tail_has_caught_up_only_when_its_reader_has(line: Line) -> None:
    line.send("ab", partition=0)
    line.send("c", partition=1, transaction="abort")

    async def follow() -> None:
        tail = Tail(Cluster(line.bootstrap), line.source)
        seen: list[bytes | None] = []

        async def go_on() -> None:
            await tail.caught_up.wait()
            assert sorted(value or b"" for value in seen) == [b"a", b"b"]
            await asyncio.to_thread(line.send, ["d"])

        going_on = asyncio.create_task(go_on())
        async for records in tail:
            assert not tail.caught_up.is_set() or len(seen) == 2
            await asyncio.sleep(0.01)  # whoever handles them takes time
            seen += [record.value for record in records]
            if b"d" in seen:
                break
        await going_on

    asyncio.run(follow())


def test_a_tail_at_rest_brings_afterwards_what_came_and_each_once(line: Line) -> None:
    async def follow() -> None:
        tail, seen, sent = Tail(Cluster(line.bootstrap), line.source), list[str](), list[str]()

        async def send() -> None:
            sent.append(f"{len(sent):02}")
            await asyncio.to_thread(line.send, sent[-1:], partition=len(sent) // 3 % 2)

        await send()
        async for records in tail:
            seen += [(record.value or b"").decode() for record in records]
            if len(sent) < 20:
                await send()  # which may have been fetched when the rest begins
                async with tail.at_rest():
                    await send()
            if len(seen) == len(sent):
                break
        assert sorted(seen) == sent

    asyncio.run(asyncio.wait_for(follow(), 60))


def test_a_tail_of_an_empty_topic_has_caught_up(line: Line) -> None:
    async def follow() -> None:
        tail = Tail(Cluster(line.bootstrap), line.source)

        async def read() -> None:
            async for _ in tail:
                pass

        reading = asyncio.create_task(read())
        await tail.caught_up.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(follow())


def test_a_recreated_topic_has_another_id(bootstrap: str) -> None:
    name = f"test.{uuid.uuid4().hex[:8]}"
    create_topic(bootstrap, name)
    before = asyncio.run(topic_ids(Cluster(bootstrap), [name]))[name]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([name])[name].result(30)
    while name in admin.list_topics(timeout=30).topics:
        pass
    create_topic(bootstrap, name)
    after = asyncio.run(topic_ids(Cluster(bootstrap), [name]))[name]
    assert len(before) == len(after) == 16
    assert before != after


def test_what_is_missing_is_named(bootstrap: str) -> None:
    for ask in (topic_ids(Cluster(bootstrap), ["test.missing"]), end_offsets(Cluster(bootstrap), "test.missing")):
        with pytest.raises(KeyError, match=r"test\.missing"):
            asyncio.run(ask)


def test_a_group_that_never_was_has_committed_nothing(line: Line) -> None:
    assert asyncio.run(committed(Cluster(line.bootstrap), "test-nobody", line.source)) == {0: None, 1: None}

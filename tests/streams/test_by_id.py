"""A topic that was deleted and made anew under its old name is another one: for who reads, and for who commits."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.by_id import Session
from streams.cluster import Cluster
from streams.commit_note import note
from streams.reader import topic_ids
from tests.streams.line import Line, create_topic, delete_topic


def id_of(line: Line) -> bytes:
    return asyncio.run(topic_ids(Cluster(line.bootstrap), [line.source]))[line.source]


async def commit(line: Line, offsets: dict[int, OffsetAndMetadata]) -> None:
    """Commit for the group, which has no member yet."""
    consumer = AIOKafkaConsumer(bootstrap_servers=line.bootstrap, group_id=line.group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(line.source, number) for number in offsets])
    await consumer.commit({TopicPartition(line.source, number): at for number, at in offsets.items()})
    await consumer.stop()


def test_what_stands_in_the_topic_made_anew_is_read_under_its_own_id_alone(line: Line) -> None:
    before = line.start("w-0", topic_id=id_of(line).hex())
    line.send(["a", "b", "c"])
    line.until_written(line.sink, 3)
    line.until_committed(3)
    delete_topic(line.bootstrap, line.source)
    create_topic(line.bootstrap, line.source, partitions=2)
    for partition in range(2):
        line.send(["d", "e", "f", "g"], partition=partition)
    before.until(lambda heard: sum(said["what"] == "assigned" for said in heard) > 2)
    # It comes beside the one of the old id, which has by then had every occasion to read on.
    after = line.start("w-1", topic_id=id_of(line).hex())
    line.until_written(line.sink, 3 + 4)
    before.kill()
    line.until_written(line.sink, 3 + 4 + 4)
    assert [said["count"] for said in before.heard if said["what"] == "handling"] == [3]
    after.until(lambda heard: sum(said["count"] for said in heard if said["what"] == "handling") == 8)


def test_a_commit_for_an_earlier_topic_of_the_name_does_not_count_and_one_that_names_none_does(line: Line) -> None:
    for partition in range(2):
        line.send(["a", "b", "c"], partition=partition)
    asyncio.run(commit(line, {0: OffsetAndMetadata(2, note(b"an earlier topic")), 1: OffsetAndMetadata(2, "")}))
    assert (line.committed(0), line.committed(1)) == (None, 2)
    line.start(topic_id=id_of(line).hex())
    line.until_written(line.sink, 4)
    assert (line.copied(0), line.copied(1)) == (["a", "b", "c"], ["c"])
    line.until_committed(3)


def test_a_fetch_names_only_what_has_moved_since_the_one_before() -> None:
    session = Session("an assignment")
    everything = [("t", [(0, 10, 1), (1, 20, 1)]), ("u", [(0, 5, 1)])]
    assert session.ask(everything) == (0, 0, everything, [])
    assert session.answered(7, 0)
    moved = [("t", [(0, 10, 1), (1, 21, 1)]), ("u", [(0, 5, 1)])]
    assert session.ask(moved) == (7, 1, [("t", [(1, 21, 1)])], [])
    assert session.answered(7, 0)
    assert session.ask(moved[:1]) == (7, 2, [], [("u", [0])])
    assert (session.names("t", 1), session.names("u", 0)) == (True, False)
    assert session.answered(7, 0)
    assert session.ask(everything) == (7, 3, [("t", [(1, 20, 1)]), ("u", [(0, 5, 1)])], [])


def test_a_fetch_of_which_nothing_was_heard_is_followed_by_one_for_everything() -> None:
    everything = [("t", [(0, 10, 1)])]
    session = Session("an assignment")
    session.ask(everything)
    session.answered(7, 0)
    session.ask(everything)
    session.end()
    assert session.ask(everything) == (7, 0, everything, [])
    assert not session.answered(0, 71)  # its epoch was not the next one
    assert session.ask(everything) == (0, 0, everything, [])
    session.answered(8, 0)
    again = Session("another assignment", session_id=session.id)
    assert again.ask(everything) == (8, 0, everything, [])
    again.answered(0, 0)  # the broker has no room for one more
    assert again.ask(everything) == (0, 0, everything, [])

"""Partition counts on a real broker: public topics may have any, of the others each process says which one is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from deploy.stack.running import RunningStack
from oo.v1.journal_pb2 import JournalRecord
from streams.topics import PARTITIONS
from tests.agents.build import task
from tests.agents.process import AgentProcess, Topics, until


@pytest.fixture
def under(servers: RunningStack) -> Iterator[Topics]:
    topics = Topics(servers)
    yield topics
    topics.close()


def recreate(under: Topics, short: str, *, partitions: int) -> None:
    """The topic anew, with another number of partitions."""
    admin, name = AdminClient({"bootstrap.servers": under.bootstrap}), f"{under.prefix}{short}"
    admin.delete_topics([name])[name].result(30)

    def created() -> bool:
        try:
            admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # not yet gone
                raise
            return False
        return True

    until(created)
    until(lambda: (found := admin.list_topics(timeout=30).topics.get(name)) and len(found.partitions) == partitions)


@pytest.mark.parametrize("process, short", [("core", "rows"), ("publish", "tips"), ("record", "outcomes")])
def test_a_topic_of_ours_with_another_count_stops_the_start_and_is_named(
    servers: RunningStack, under: Topics, tmp_path: Path, process: str, short: str
) -> None:
    recreate(under, short, partitions=PARTITIONS - 1)
    worker = AgentProcess(process, servers, under, tmp_path, {}).start()
    until(lambda: not worker.running(), alive=worker)
    assert worker.wait() == 1
    assert f"{under.prefix}{short} has {PARTITIONS - 1} partitions where {PARTITIONS} are needed" in worker.log()
    assert "Traceback" not in worker.log()


def test_a_topic_that_is_missing_stops_the_start_and_is_named(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    admin, name = AdminClient({"bootstrap.servers": under.bootstrap}), f"{under.prefix}decisions"
    admin.delete_topics([name])[name].result(30)
    worker = AgentProcess("record", servers, under, tmp_path, {}).start()
    until(lambda: not worker.running(), alive=worker)
    assert worker.wait() == 1
    assert f"{name} does not exist" in worker.log()
    assert "Traceback" not in worker.log()


def test_public_topics_of_any_count_give_tips(servers: RunningStack, under: Topics, tmp_path: Path) -> None:
    recreate(under, "signals", partitions=13)
    recreate(under, "reactions", partitions=1)
    worker = AgentProcess("core", servers, under, tmp_path, {}).start()
    try:
        under.produce("signals", [task("1", title="Water the plants", priority=1)], partition=12)
        until(lambda: any(under.read("tips", partition=number) for number in range(PARTITIONS)), alive=worker)
    finally:
        assert worker.stop() == 0


def test_a_partition_that_is_added_is_read_without_a_hand_and_a_topic_made_anew_ends_the_worker(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    admin, name = AdminClient({"bootstrap.servers": under.bootstrap}), f"{under.prefix}signals"
    worker = AgentProcess("core", servers, under, tmp_path, {}).start()
    try:
        under.produce("signals", [task("1")], partition=0)
        until(lambda: journaled(under) == 1, alive=worker)
        admin.create_partitions([NewPartitions(name, PARTITIONS + 1)])[name].result(30)
        until(lambda: len(admin.list_topics(timeout=30).topics[name].partitions) == PARTITIONS + 1)
        under.look_anew()
        under.produce("signals", [task("2")], partition=PARTITIONS)
        until(lambda: journaled(under) == 2, alive=worker)
        recreate(under, "signals", partitions=PARTITIONS)
        until(lambda: not worker.running(), alive=worker)
        assert "was made anew" in worker.log()
    finally:
        worker.kill()


def journaled(under: Topics, *, topic_id: bytes | None = None) -> int:
    """Signals in the journal, of the topic with this id."""
    found = 0
    for partition in range(PARTITIONS):
        for record in under.messages("journal", partition=partition):
            assert isinstance(record, JournalRecord)
            found += record.HasField("signal") and topic_id in (None, record.source.topic_id)
    return found

"""Partition counts on a real broker: public topics may have any, of the others each process says which one is wrong."""

from __future__ import annotations

import time
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
    admin, name = AdminClient({"bootstrap.servers": under.cluster.bootstrap}), f"{under.prefix}{short}"
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
    admin, name = AdminClient({"bootstrap.servers": under.cluster.bootstrap}), f"{under.prefix}decisions"
    admin.delete_topics([name])[name].result(30)
    until(lambda: name not in admin.list_topics(timeout=30).topics)
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


def test_a_partition_that_is_added_is_read_without_a_hand(servers: RunningStack, under: Topics, tmp_path: Path) -> None:
    admin, name = AdminClient({"bootstrap.servers": under.cluster.bootstrap}), f"{under.prefix}signals"
    worker = AgentProcess("core", servers, under, tmp_path, {}).start()
    try:
        under.produce("signals", [task("1")], partition=0)
        until(lambda: journaled(under) == ["1"], alive=worker)
        admin.create_partitions([NewPartitions(name, PARTITIONS + 1)])[name].result(30)
        until(lambda: len(admin.list_topics(timeout=30).topics[name].partitions) == PARTITIONS + 1)
        under.look_anew()
        under.produce("signals", [task("2")], partition=PARTITIONS)
        until(lambda: journaled(under) == ["1", "2"], alive=worker)
    finally:
        assert worker.stop() == 0


def test_a_topic_made_anew_ends_the_worker_and_the_next_one_takes_each_of_its_records_once(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    worker = AgentProcess("core", servers, under, tmp_path, {}).start()
    try:
        under.produce("signals", [task(f"old {number}") for number in range(5)])
        until(lambda: len(journaled(under)) == 5, alive=worker)
        until(lambda: under.committed("core", "signals") == 5, alive=worker)
        recreate(under, "signals", partitions=PARTITIONS)
        under.look_anew()
        written = []

        def write() -> None:
            written.append(f"new {len(written):03}")
            under.produce("signals", [task(written[-1])])

        while worker.running():
            write()
            time.sleep(0.1)
        assert "was made anew" in worker.log()
        for _ in range(20):
            write()
        worker.start()
        write()
        topic_id = under.topic_id("signals")
        until(lambda: set(journaled(under, topic_id=topic_id)) >= set(written), alive=worker)
        write()
        until(lambda: written[-1] in journaled(under, topic_id=topic_id), alive=worker)
        assert sorted(journaled(under)) == written + [f"old {number}" for number in range(5)]
    finally:
        worker.kill()


def test_a_journal_made_anew_stops_the_worker_with_what_to_do_and_never_begins_again_in_silence(
    servers: RunningStack, under: Topics, tmp_path: Path
) -> None:
    worker = AgentProcess("core", servers, under, tmp_path, {}).start()
    try:
        under.produce("signals", [task("1")])
        until(lambda: any(under.end("rows", partition=number) for number in range(PARTITIONS)), alive=worker)
        recreate(under, "journal", partitions=PARTITIONS)
        until(lambda: not worker.running(), alive=worker)
        for _ in range(2):
            worker.start()
            until(lambda: not worker.running(), alive=worker)
            assert "rows is of the journal that is there, which was made anew" in worker.log()
        under.look_anew()
        under.produce("signals", [task("2")])
        assert journaled(under) == []
        recreate(under, "rows", partitions=PARTITIONS)
        worker.start()
        until(lambda: journaled(under) == ["2"], alive=worker)
    finally:
        worker.kill()


def journaled(under: Topics, *, topic_id: bytes | None = None) -> list[str]:
    """Tasks in the journal, of the topic with this id."""
    found = []
    for partition in range(PARTITIONS):
        for record in under.messages("journal", partition=partition):
            assert isinstance(record, JournalRecord)
            if record.HasField("signal") and topic_id in (None, record.source.topic_id):
                found.append(record.signal.task_upserted.external_id)
    return found

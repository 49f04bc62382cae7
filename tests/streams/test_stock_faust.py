"""What our driver mends, each fault shown on stock Faust and then not on ours, on a real broker.

A test here fails in one of two ways: our half, then the mend is broken; the stock half, then Faust has mended the fault
upstream and our override can go.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from pathlib import Path

import faust
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import Producer as PlainProducer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from streams.cluster import Cluster
from streams.producer import Producer
from streams.reader import end_offsets, read_partition
from tests.streams.line import Line, create_topic

pytestmark = pytest.mark.library


def test_a_commit_passes_a_message_in_flight(line: Line) -> None:
    # Stock: one agent with two actors, the first held at "first".
    line.close_gate("first")
    stock = line.start_stock(concurrency=2)
    line.send(["before"])
    line.until_committed(1, group=line.stock_group)
    line.send(["first", "second"])
    stock.until(lambda heard: any(said.get("value") == "first" for said in heard))
    line.until_committed(3, group=line.stock_group)
    assert not [said for said in stock.heard if said["what"] == "handled" and said["value"] == "first"]

    line.close_gate(0)
    ours = line.start()
    ours.until_said("handling", partition=0)
    line.send(["third"])
    line.send(["free"], partition=1)
    line.until_committed(1, partition=1)
    assert line.committed(0) is None


def test_a_hole_in_the_log_counts_as_the_message_behind_it(line: Line) -> None:
    line.close_gate("held")
    stock = line.start_stock(concurrency=2)
    line.send(["a", "b"], transaction="commit")  # offsets 0 1, and a marker at 2
    line.until_committed(2, group=line.stock_group)
    line.send(["held", "c"])  # offsets 3 4
    stock.until(lambda heard: any(said.get("value") == "held" for said in heard))
    line.until_committed(5, group=line.stock_group)
    assert not [said for said in stock.heard if said["what"] == "handled" and said["value"] == "held"]

    line.close_gate(0)
    ours = line.start()
    ours.until_said("handling", partition=0)
    line.send(["free"], partition=1)
    line.until_committed(1, partition=1)
    assert line.committed(0) is None


def test_a_refused_delivery_is_logged_and_committed_past(bootstrap: str, tmp_path: Path) -> None:
    line = Line(bootstrap, tmp_path, sink={"max.message.bytes": "1000"})
    try:
        line.send(["x" * 5_000])
        line.start_stock()
        line.until_committed(1, group=line.stock_group)

        ours = line.start()
        assert ours.wait() == 1
        assert line.committed() is None
        assert line.copied() == []
    finally:
        line.close()


def test_a_commit_does_not_wait_for_the_producer(line: Line) -> None:
    line.sink = f"{line.sink}.missing"  # whatever is written to it stays in doubt
    line.send(["in doubt"])
    line.start_stock(how="soon")
    line.until_committed(1, group=line.stock_group)

    ours = line.start(delivery_timeout_ms=3_000)
    assert ours.wait() == 1
    assert "DeliveryFailed" in ours.log()
    assert line.committed() is None


def test_an_exception_in_an_agent_drops_its_event(line: Line) -> None:
    line.send(["good", "boom", "next"])
    stock = line.start_stock(boom="boom")
    line.until_committed(3, group=line.stock_group)
    stock.until(lambda heard: any(said["what"] == "handled" and said["value"] == "next" for said in heard))
    assert not [said for said in stock.heard if said["what"] == "handled" and said["value"] == "boom"]

    ours = line.start(boom="boom")
    assert ours.wait() == 1
    assert line.committed() is None


def test_a_poison_message_is_dropped_before_the_agent_sees_it(line: Line) -> None:
    line.send(['{"value": "good"}', "poison", '{"value": "next"}'])
    stock = line.start_stock(how="count", typed=True)
    line.until_committed(3, group=line.stock_group)
    stock.until(lambda heard: sum(said["what"] == "handled" for said in heard) == 2)
    assert [said["value"] for said in stock.heard if said["what"] == "handling"] == ["good", "next"]

    line.start()
    line.until_committed(3)
    assert line.copied() == ['{"value": "good"}', "poison", '{"value": "next"}']


def test_state_runs_ahead_of_the_commit(line: Line) -> None:
    line.send(["before", "once"])
    _commit(line, 1)
    stock = line.start_stock(how="count", commit_interval_s=3600.0)
    stock.until_said("handled")
    line.until_written(f"{line.stock_group}-rows-changelog", 1)
    stock.kill()
    again = line.stock_that_said("counted", how="count", commit_interval_s=3600.0)
    assert again.heard[-1]["count"] == 2


def _commit(line: Line, offset: int) -> None:
    """What a stock worker that ended well before left."""
    admin = AdminClient({"bootstrap.servers": line.bootstrap})
    place = Place(line.source, 0, offset)
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(line.stock_group, [place])])[
        line.stock_group
    ].result(30)


def test_a_row_changed_in_place_is_not_saved(line: Line) -> None:
    line.send(["one"])
    line.start_stock(how="in-place")
    line.until_committed(1, group=line.stock_group)
    assert sum(asyncio.run(end_offsets(Cluster(line.bootstrap), f"{line.stock_group}-rows-changelog")).values()) == 0


def test_a_revoke_forgets_what_was_handled_and_not_yet_committed(line: Line) -> None:
    line.send(["handled"])
    stock = line.start_stock(commit_interval_s=3600.0)
    ours = line.start("w-0", commit_interval_s=3600.0)
    stock.until_said("handled")
    ours.until_said("handled")
    second_stock = line.start_stock("second", commit_interval_s=3600.0)
    second = line.start("w-1", commit_interval_s=3600.0)
    second.until(lambda _: len(second.assigned()) == 1)
    second_stock.until(lambda _: len(second_stock.assigned()) == 1)
    assert line.committed() == 1
    stock.until(lambda heard: sum(said["what"] == "assigned" for said in heard) >= 2)
    either = [*stock.heard, *second_stock.heard]
    assert line.committed(group=line.stock_group) is None, either


def test_a_process_that_lost_its_partitions_while_stopped_still_writes(line: Line) -> None:
    line.close_gate("zombie")
    line.send(["zombie"])
    stock = line.start_stock(session_timeout_s=6.0)
    stock.until_said("handling")
    stock.signal(signal.SIGSTOP)
    heir = line.start_stock("heir", session_timeout_s=6.0)
    heir.until(lambda _: heir.assigned() == {0, 1})
    heir.until_said("handling")
    line.open_gate("zombie")
    heir.until_said("handled")
    stock.signal(signal.SIGCONT)
    stock.until_said("handled")
    line.until_written(line.sink, 2)
    # Ours exits and writes nothing: test_a_process_that_was_stopped_past_its_session_exits_and_writes_nothing.


def test_a_member_has_no_name_that_outlives_it(line: Line) -> None:
    stock, ours = line.start_stock(), line.start("w-0")
    stock.until_said("assigned")
    ours.until_said("assigned")
    assert _instances(line.bootstrap, line.stock_group) == [None]
    assert _instances(line.bootstrap, line.group) == ["w-0"]


def _instances(bootstrap: str, group: str) -> list[str | None]:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    return [member.group_instance_id for member in admin.describe_consumer_groups([group])[group].result(30).members]


def test_a_producer_is_not_idempotent(line: Line) -> None:
    line.send(["written"])
    line.start_stock()
    line.until_written(line.sink, 1)
    assert asyncio.run(_producer_id(line.bootstrap, line.sink)) == -1

    sink = f"{line.sink}.ours"
    create_topic(line.bootstrap, sink)

    async def write() -> None:
        producer = Producer(Cluster(line.bootstrap))
        await producer.produce(sink, key=None, value=b"written")
        await producer.close()

    asyncio.run(write())
    assert asyncio.run(_producer_id(line.bootstrap, sink)) >= 0


async def _producer_id(bootstrap: str, topic: str) -> int:
    """What the first batch of partition 0 says: -1 is nobody's."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        while partition not in consumer._fetcher._records:
            await asyncio.sleep(0.01)
        batch = consumer._fetcher._records[partition]._partition_records._records.next_batch()
        return int(batch.producer_id)
    finally:
        await consumer.stop()


def test_a_foreign_producer_puts_a_user_elsewhere(bootstrap: str) -> None:
    # Of librdkafka, not of Faust, whose own hash is Java's, as ours is (streams/partitioner.py).
    topic = f"test.{uuid.uuid4().hex[:8]}"
    create_topic(bootstrap, topic, partitions=8)
    keys = [f"user-{number}".encode() for number in range(40)]
    foreign = PlainProducer({"bootstrap.servers": bootstrap})
    for key in keys:
        foreign.produce(topic, b"foreign", key)
    foreign.flush(30)

    async def write() -> dict[bytes, int]:
        producer = Producer(Cluster(bootstrap))
        ours = {key: (await producer.produce(topic, key=key, value=b"ours")).partition for key in keys}
        await producer.close()
        return ours

    async def read() -> dict[bytes, int]:
        return {
            record.key or b"": record.partition
            for partition in range(8)
            async for records in read_partition(Cluster(bootstrap), topic, partition)
            for record in records
            if record.value == b"foreign"
        }

    assert asyncio.run(write()) != asyncio.run(read())


def test_a_fetch_waits_a_second_and_a_half_behind_an_idle_partition(bootstrap: str) -> None:
    async def wait_ms() -> int:
        stock = faust.App("stock", broker=f"kafka://{bootstrap}")
        thread = stock._new_consumer()._thread
        client = thread._create_worker_consumer(stock.transport)
        await client.stop()
        thread.thread_loop.close()
        return int(client._fetch_max_wait_ms)

    assert asyncio.run(wait_ms()) == 1500

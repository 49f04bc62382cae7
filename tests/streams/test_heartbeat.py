"""What was overwritten in a compacted topic leaves the broker's disk, also where nobody writes any more."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from confluent_kafka import Producer as Plain
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from deploy.stack.running import RunningStack
from deploy.stack.topics import ensure_topics
from streams import heartbeat
from streams.cluster import Cluster
from streams.producer import Producer
from streams.reader import read_partition

SOON = {"segment.ms": "1000", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "1000", "delete.retention.ms": "0"}
QUIET_MS = 1000
CLEANED_S = 90
"""The broker looks every 15 s."""
PARTITION = 3


def overwritten(stack: RunningStack, prefix: str) -> Cluster:
    """A cluster where the row of one person was overwritten by a stub; what is to go from the rows goes soon."""
    cluster = replace(stack.cluster, prefix=prefix)
    ensure_topics(cluster)
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in SOON.items()]
    changed = ConfigResource(ResourceType.TOPIC, cluster.name("rows"), incremental_configs=entries)
    admin, client = (kind({"bootstrap.servers": cluster.bootstrap}) for kind in (AdminClient, Plain))
    for future in admin.incremental_alter_configs([changed]).values():
        future.result()
    for value in (words(cluster), b"a stub"):
        client.produce(cluster.name("rows"), value, b"ada", PARTITION)
        assert client.flush(10) == 0
    return cluster


def words(cluster: Cluster) -> bytes:
    return f"words of {cluster.prefix}".encode()


def on_disk(stack: RunningStack, cluster: Cluster) -> bool:
    """Whether the words stand in a file of that partition."""
    files = stack.folder.root.rglob(f"{cluster.name('rows')}-{PARTITION}/*.log")
    return any(words(cluster) in file.read_bytes() for file in files)


async def beat(cluster: Cluster, *, quiet_ms: int = QUIET_MS) -> int:
    producer = Producer(cluster)
    try:
        return await heartbeat.beat(cluster, producer, {PARTITION}, quiet_ms=quiet_ms)
    finally:
        await producer.close()


def keys(cluster: Cluster) -> list[bytes | None]:
    async def read() -> list[bytes | None]:
        reading = read_partition(cluster, cluster.name("rows"), PARTITION)
        return [record.key async for records in reading for record in records]

    return asyncio.run(read())


@pytest.mark.library
def test_what_was_overwritten_leaves_the_disk_where_nobody_writes_by_a_heartbeat_and_not_without(
    servers: RunningStack,
) -> None:
    beaten, quiet = overwritten(servers, "beaten."), overwritten(servers, "quiet.")
    assert on_disk(servers, beaten)
    time.sleep(1.5 * QUIET_MS / 1000)
    assert asyncio.run(beat(beaten)) == 1

    deadline_s = time.monotonic() + CLEANED_S
    while on_disk(servers, beaten):
        assert time.monotonic() < deadline_s, "still there"
        time.sleep(0.5)
    assert on_disk(servers, quiet), "Kafka cleans up by itself now: the heartbeat is needed no more"
    assert b"ada" in keys(beaten), "the stub went too"


def test_where_people_write_or_nobody_ever_wrote_there_is_no_heartbeat(servers: RunningStack) -> None:
    cluster = overwritten(servers, "busy.")
    assert asyncio.run(beat(cluster, quiet_ms=60_000)) == 0
    assert keys(cluster) == [b"ada", b"ada"]

"""Creates the topics of streams/topics.py on a broker, and refuses a broker whose topics differ.

It never changes the partitions of a topic and never deletes one: either would lose what the journal promises.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streams.cluster import Cluster
from streams.topics import PUBLIC_DAYS, Topic
from streams.units import DAY_MS

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TIMEOUT_S = 30.0


class TopicsDiffer(Exception):
    """A topic stands there with other partitions than it must have."""


def ensure_topics(cluster: Cluster, *, replication: int = 1, public_ms: int = PUBLIC_DAYS * DAY_MS) -> list[str]:
    """Makes every topic exist with exactly its settings; returns the names of those that were created. Blocks.

    `public_ms`: how long the public topics keep what producers write. Settings of an existing topic are put right; raises TopicsDiffer where its partition count differs.
    """
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic

    client = admin(cluster)
    wanted = [replace(one, retention_ms=public_ms) if one.public else one for one in cluster.topics.values()]
    existing = _partitions(client)
    _check(wanted, existing)
    missing = [topic for topic in wanted if topic.name not in existing]
    new = [NewTopic(topic.name, topic.partitions, replication, config=topic.config) for topic in missing]
    # The client refuses an empty list.
    for future in client.create_topics(new).values() if new else ():
        try:
            future.result(timeout=TIMEOUT_S)
        except KafkaException as error:
            # Another start was faster, or the broker had not heard of it yet; it is checked like any other below.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    _align(client, [topic for topic in wanted if topic.name in existing])
    _wait_until_led(client, {topic.name for topic in wanted})
    _check(wanted, _partitions(client))
    return [topic.name for topic in missing]


def admin(cluster: Cluster, *, timeout_s: float = 60.0) -> AdminClient:
    """A client for operators' questions."""
    from confluent_kafka.admin import AdminClient

    # Refused connections while a broker starts are expected: they come out as errors of the calls, not as lines.
    return AdminClient(
        {
            "log_level": 0,
            "client.id": cluster.client_id("operator"),
            "socket.timeout.ms": int(timeout_s * 1000),
            **cluster.rdkafka(),
        }
    )


def _check(wanted: list[Topic], existing: Mapping[str, int]) -> None:
    """Raises TopicsDiffer where a topic that exists has another number of partitions."""
    differing = [topic for topic in wanted if existing.get(topic.name, topic.partitions) != topic.partitions]
    if differing:
        told = ", ".join(f"{t.name} has {existing[t.name]} partitions instead of {t.partitions}" for t in differing)
        raise TopicsDiffer(f"{told}: replay into a new journal, or use another state folder or prefix")


def _partitions(client: AdminClient) -> dict[str, int]:
    metadata = client.list_topics(timeout=TIMEOUT_S)
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def _align(client: AdminClient, existing: list[Topic]) -> None:
    """Sets what was changed on the broker, or in the table since, back to what the table says."""
    from confluent_kafka.admin import (
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    if not existing:
        return
    by_name = {topic.name: topic for topic in existing}
    found = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in by_name])
    changes: list[Any] = []
    for resource, future in found.items():
        current = {key: entry.value for key, entry in future.result(timeout=TIMEOUT_S).items()}
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in by_name[resource.name].config.items()
            if current.get(key) != value
        ]
        if entries:
            changes.append(ConfigResource(ResourceType.TOPIC, resource.name, incremental_configs=entries))
    if changes:
        for future in client.incremental_alter_configs(changes).values():
            future.result(timeout=TIMEOUT_S)


def _wait_until_led(client: AdminClient, names: set[str]) -> None:
    """Returns when every partition has a leader: a producer that comes sooner would wait for a second."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        metadata = client.list_topics(timeout=TIMEOUT_S).topics
        unled = [
            name
            for name in names
            if name not in metadata or any(part.leader < 0 for part in metadata[name].partitions.values())
        ]
        if not unled:
            return
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"no leader for {', '.join(sorted(unled))} after {TIMEOUT_S:.0f} s: see logs/kafka.log")
        time.sleep(0.05)

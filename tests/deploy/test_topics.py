"""Topics are made as the one table says, and a broker whose partitions differ is refused."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from deploy.stack.groups import view
from deploy.stack.running import NotRunning, RunningStack
from deploy.stack.topics import TopicsDiffer, ensure_topics
from deploy.steps import topics as make_topics
from streams.topics import topics
from streams.units import DAY_MS
from tests.patience import PATIENCE_S


def until_told(client: AdminClient, name: str, key: str, value: str) -> None:
    """What the controller has accepted is told by the broker a moment later."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := settings(client, name)[key]) != value:
        assert time.monotonic() < deadline_s, f"{key} of {name} is {found}, not {value}"
        time.sleep(0.05)


def settings(client: AdminClient, name: str) -> dict[str, str]:
    (future,) = client.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()
    return {key: entry.value for key, entry in future.result().items()}


def test_topics_are_created_once_with_exactly_their_settings(servers: RunningStack) -> None:
    cluster = replace(servers.cluster, prefix="topics-once.")
    assert set(ensure_topics(cluster)) == {topic.name for topic in cluster.topics.values()}
    assert ensure_topics(cluster) == []
    client = AdminClient({"bootstrap.servers": servers.cluster.bootstrap})
    for topic in cluster.topics.values():
        found = settings(client, topic.name)
        assert {key: found[key] for key in topic.config} == topic.config


def test_a_setting_that_was_changed_is_set_back(servers: RunningStack) -> None:
    cluster = replace(servers.cluster, prefix="topics-back.")
    ensure_topics(cluster)
    journal = cluster.topics["journal"]
    client = AdminClient({"bootstrap.servers": servers.cluster.bootstrap})
    entry = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ResourceType.TOPIC, journal.name, incremental_configs=[entry])
    for future in client.incremental_alter_configs([changed]).values():
        future.result()
    until_told(client, journal.name, "retention.ms", "60000")
    ensure_topics(cluster)
    until_told(client, journal.name, "retention.ms", "-1")


def test_how_long_the_public_topics_keep_what_producers_write_is_a_setting_and_no_other_topic_follows_it(
    servers: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = replace(servers, cluster=replace(servers.cluster, prefix="topics-kept."))
    client = AdminClient({"bootstrap.servers": servers.cluster.bootstrap})
    for days in ("3", "30"):
        monkeypatch.setenv("OO_PUBLIC_DAYS", days)
        make_topics(stack)
        for name in ("signals", "reactions"):
            until_told(client, stack.cluster.name(name), "retention.ms", str(int(days) * DAY_MS))
        assert settings(client, stack.cluster.name("decisions"))["retention.ms"] == str(90 * DAY_MS)
    monkeypatch.setenv("OO_PUBLIC_DAYS", "a week")
    with pytest.raises(NotRunning, match="OO_PUBLIC_DAYS is 'a week': write a whole number from 1 to 3650"):
        make_topics(stack)


def test_another_number_of_partitions_is_refused_with_both_numbers(servers: RunningStack) -> None:
    cluster = replace(servers.cluster, prefix="topics-differ.")
    client = AdminClient({"bootstrap.servers": servers.cluster.bootstrap})
    for future in client.create_topics([NewTopic(cluster.name("journal"), 3, 1)]).values():
        future.result()
    with pytest.raises(TopicsDiffer, match="has 3 partitions instead of 8"):
        ensure_topics(cluster)


def test_the_broker_creates_no_topic_by_itself(servers: RunningStack) -> None:
    client = AdminClient({"bootstrap.servers": servers.cluster.bootstrap})
    assert client.list_topics("nobody.made.this", timeout=10).topics["nobody.made.this"].error is not None


def test_offsets_are_told_for_every_partition(servers: RunningStack) -> None:
    seen = view(servers.cluster)
    assert len([place for place in seen.offsets if place[0] == "oo.journal"]) == topics()["journal"].partitions

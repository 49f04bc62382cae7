"""How far each consumer group has read, and which of its members holds what: an operator's view from outside.

It never joins a group and never commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploy.stack.topics import admin
from streams.cluster import Cluster

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Offsets:
    """One partition's log, from its first offset to the last stable one: what may be read."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a group."""

    group: str
    client_id: str
    instance_id: str | None
    partitions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class View:
    """Topics and groups at one moment."""

    offsets: dict[tuple[str, int], Offsets]
    committed: dict[str, dict[tuple[str, int], int]]
    """By group: what it would read next in each partition where it ever committed."""
    members: tuple[Member, ...]
    settled: frozenset[str]
    """Groups whose members hold what they are to hold: none joins or leaves at this moment; also where there is no member any more."""

    def lag(self, group: str, partitions: tuple[tuple[str, int], ...]) -> int:
        """Records in these partitions that the group has yet to commit; all of a partition where it never did."""
        done = self.committed.get(group, {})
        return sum(
            max(0, self.offsets[place].end - done.get(place, self.offsets[place].start))
            for place in partitions
            if place in self.offsets
        )


def view(cluster: Cluster) -> View:
    """Asks the broker; raises KafkaException where it does not answer. Blocks."""
    client = admin(cluster, timeout_s=TIMEOUT_S)
    topics = client.list_topics(timeout=TIMEOUT_S).topics
    places = [
        (name, number)
        for name, topic in topics.items()
        if name.startswith(cluster.prefix)
        for number in topic.partitions
    ]
    listing = client.list_consumer_groups(request_timeout=TIMEOUT_S).result(timeout=TIMEOUT_S)
    groups = sorted(group.group_id for group in listing.valid)
    starts, ends = _offsets(client, places, earliest=True), _offsets(client, places, earliest=False)
    return View(
        offsets={place: Offsets(starts[place], ends[place]) for place in places},
        committed={group: _committed(cluster, group, places) for group in groups},
        **_members(client, groups),
    )


def _offsets(client: AdminClient, places: list[tuple[str, int]], *, earliest: bool) -> dict[tuple[str, int], int]:
    from confluent_kafka import IsolationLevel, TopicPartition
    from confluent_kafka.admin import OffsetSpec

    if not places:
        return {}
    spec: Any = OffsetSpec.earliest() if earliest else OffsetSpec.latest()
    asked = client.list_offsets(
        {TopicPartition(*place): spec for place in places},
        isolation_level=IsolationLevel.READ_COMMITTED,
        request_timeout=TIMEOUT_S,
    )
    return {(place.topic, place.partition): int(future.result().offset) for place, future in asked.items()}


def _committed(cluster: Cluster, group: str, places: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    from streams.reader import BRIEF, settings

    # Not the admin client's question: one to a coordinator that still loads crashes the process in librdkafka
    # (streams/reader.py). This one never subscribes, so it never joins.
    client = Consumer({**settings(cluster, group=group, purpose="committed"), **BRIEF})
    try:
        answer = client.committed([TopicPartition(*place) for place in places], timeout=TIMEOUT_S)
    finally:
        client.close()
    refused = next((place.error for place in answer if place.error is not None), None)
    if refused is not None:
        raise KafkaException(refused)
    return {(place.topic, place.partition): place.offset for place in answer if place.offset >= 0}


def _members(client: AdminClient, groups: list[str]) -> dict[str, Any]:
    """The view's `members` and `settled`."""
    from confluent_kafka import ConsumerGroupState

    described = client.describe_consumer_groups(groups, request_timeout=TIMEOUT_S) if groups else {}
    found = {group: future.result() for group, future in described.items()}
    settled_as = (ConsumerGroupState.STABLE, ConsumerGroupState.EMPTY)
    members = tuple(
        Member(
            group,
            member.client_id,
            member.group_instance_id,
            tuple(sorted((place.topic, place.partition) for place in member.assignment.topic_partitions)),
        )
        for group, answer in found.items()
        for member in answer.members
    )
    settled = frozenset(group for group, answer in found.items() if answer.state in settled_as)
    return {"members": members, "settled": settled}

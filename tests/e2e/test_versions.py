"""A policy version and its marks, published by hand, on the real servers."""

from __future__ import annotations

import uuid

import psycopg
from command import kill
from confluent_kafka import Producer
from outside import client, core_pid, eventually, send, settled, task, tip

from agents.bandit.belief import named
from agents.prior import prior
from agents.reward import DEFAULT, config_hash
from agents.step import STEP_VERSION
from deploy.stack.running import RunningStack
from oo.v1 import journal_pb2, policy_pb2
from streams.schemas import Schemas
from streams.topics import PARTITIONS
from tables.zones import TZDATA_VERSION

SEQUENCE = 1_000
"""Above any that `learn` has published in this stack."""


def publish_by_hand(stack: RunningStack) -> str:
    """The version first, acknowledged; then its mark into every partition, as `learn` does it."""
    config = policy_pb2.DecisionConfig()
    config.CopyFrom(DEFAULT)
    config.tip_valid_ms = 3 * 3600 * 1000
    version = prior(config=config)
    version.sequence = SEQUENCE
    named(version)
    mark = journal_pb2.JournalRecord(
        record_id=uuid.uuid4().bytes,
        writer="test",
        mark=journal_pb2.Mark(
            sequence=version.sequence,
            version_id=version.version_id,
            step_version=STEP_VERSION,
            config_hash=config_hash(config),
            tzdata_version=TZDATA_VERSION,
        ),
    )
    schemas = Schemas(stack.cluster)
    schemas._register()
    producer = Producer(stack.as_admin.cluster.rdkafka())
    producer.produce(stack.cluster.name("policies"), schemas.frame("policies", version), version.version_id.encode())
    assert producer.flush(20) == 0
    for number in range(PARTITIONS):
        producer.produce(stack.cluster.name("journal"), schemas.frame("journal", mark), partition=number)
    assert producer.flush(20) == 0
    schemas.close()
    return version.version_id


def versions_of(stack: RunningStack, user: str) -> list[tuple[str, int]]:
    """Of the user's decisions in PostgreSQL, oldest first: policy version, and how long the tip is good for."""
    with psycopg.connect(stack.recommender_dsn) as connection:
        found = connection.execute(
            "SELECT policy_version, valid_until_ms - decided_ms FROM decisions WHERE user_id = %s ORDER BY decided_ms",
            (stack.pseudonym(user),),
        )
        return [(str(version), int(valid_ms)) for version, valid_ms in found.fetchall()]


def test_from_its_mark_on_a_version_decides_with_its_own_settings_and_a_kill_does_not_change_that(
    stack: RunningStack,
) -> None:
    before, after = f"before-{uuid.uuid4().hex[:8]}", f"after-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(before, "1", "Call the dentist"))
    with client(stack, before) as http:
        eventually(lambda: tip(http))
    version_id = publish_by_hand(stack)
    send(stack, "signals", task(after, "1", "Water the plants"))
    kill(core_pid(stack))
    with client(stack, after) as http:
        eventually(lambda: tip(http))

    settled(stack)
    # Two, where the tip to begin with was before the task.
    assert set(versions_of(stack, after)) == {(version_id, 3 * 3600 * 1000)}
    assert version_id not in [version for version, _ in versions_of(stack, before)]

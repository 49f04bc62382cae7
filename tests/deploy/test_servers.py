"""The four servers answer their own clients, with everything in place that a worker needs."""

from __future__ import annotations

import httpx
import psycopg
import pytest
import valkey
from confluent_kafka.admin import AdminClient

from deploy.stack.running import RunningStack
from streams.topics import topics


def test_every_topic_stands_there_with_its_partitions(servers: RunningStack) -> None:
    found = AdminClient({"bootstrap.servers": servers.cluster.bootstrap}).list_topics(timeout=10).topics
    assert {t.name: len(found[t.name].partitions) for t in topics().values()} == {
        t.name: t.partitions for t in topics().values()
    }


def test_every_topic_has_a_subject_in_the_registry(servers: RunningStack) -> None:
    subjects = httpx.get(f"{servers.cluster.registry_url}/subjects", trust_env=False).json()
    assert {f"{topic.name}-value" for topic in topics().values()} <= set(subjects)


def test_the_recommender_can_read_its_tables(servers: RunningStack) -> None:
    with psycopg.connect(servers.recommender_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM recommender.decisions").fetchone() is not None


def test_no_one_logs_in_to_postgresql_without_a_password(servers: RunningStack) -> None:
    with psycopg.connect(servers.recommender_dsn) as connection:
        assert connection.pgconn.used_password
    naked = servers.recommender_dsn.replace(servers.passwords["recommender"], "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(naked)


def test_the_shown_dsn_has_no_password_and_works(servers: RunningStack) -> None:
    shown = servers.shown_dsn("recommender")
    assert servers.passwords["recommender"] not in shown
    with psycopg.connect(shown) as connection:
        assert connection.info.user == "recommender"


def test_valkey_answers(servers: RunningStack) -> None:
    with valkey.Valkey.from_url(servers.valkey_url) as client:
        assert client.ping()

"""TLS and SASL on a real broker: what gets in works in whole, what does not ends with what to mend and no secret."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from streams.access import Refused, check
from streams.cluster import Cluster
from streams.producer import Producer
from streams.reader import Tail, committed, end_offsets, read_partition, topic_ids
from streams.security import Security
from tests.streams.line import Line
from tests.streams.secure import SecureBroker, secure_broker

WAYS = ["scram", "plain", "tls"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("secure")) as broker:
        yield broker


def where(broker: SecureBroker, way: str) -> Cluster:
    return Cluster(broker.ssl if way == "tls" else broker.sasl_ssl, security=getattr(broker, way))


def test_a_group_is_asked_about_while_its_coordinator_still_loads(broker: SecureBroker, tmp_path: Path) -> None:
    # The first question of all makes the broker load its groups. In a process of its own: it crashed.
    line = Line(broker.bare, tmp_path)
    question = f"print(asyncio.run(committed(Cluster({broker.bare!r}), 'nobody', {line.source!r})))"
    done = subprocess.run(
        (
            sys.executable,
            "-c",
            f"import asyncio; from streams.cluster import Cluster; from streams.reader import committed; {question}",
        ),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "{0: None, 1: None}"), done.stderr


@pytest.mark.parametrize("way", WAYS)
def test_the_driver_consumes_produces_and_commits(broker: SecureBroker, tmp_path: Path, way: str) -> None:
    cluster = where(broker, way)
    line = Line(broker.bare, tmp_path)
    try:
        line.send(["over", "tls"])
        worker = line.start(bootstrap=cluster.bootstrap, security=asdict(cluster.security))
        line.until_committed(2)
        assert line.copied() == ["over", "tls"]
        assert broker.password not in worker.log()
    finally:
        line.close()


@pytest.mark.parametrize("way", WAYS)
def test_readers_and_questions_work(broker: SecureBroker, tmp_path: Path, way: str) -> None:
    cluster = where(broker, way)
    line = Line(broker.bare, tmp_path)

    async def ask() -> None:
        producer = Producer(cluster)
        await producer.produce(line.source, key=None, value=b"read", partition=0)
        await producer.close()
        assert len((await topic_ids(cluster, [line.source]))[line.source]) == 16
        assert await end_offsets(cluster, line.source) == {0: 1, 1: 0}
        assert await committed(cluster, line.group, line.source) == {0: None, 1: None}
        found = [one async for some in read_partition(cluster, line.source, 0) for one in some]
        assert [record.value for record in found] == [b"read"]
        async for records in Tail(cluster, line.source):
            assert [record.value for record in records] == [b"read"]
            break

    asyncio.run(ask())


def test_a_wrong_password_is_refused_with_what_to_mend(broker: SecureBroker) -> None:
    wrong = replace(broker.scram, password="not-the-password")
    with pytest.raises(Refused, match="OO_KAFKA_SASL_PASSWORD") as refused:
        asyncio.run(check(Cluster(broker.sasl_ssl, security=wrong)))
    assert "not-the-password" not in str(refused.value) + repr(wrong)


def test_an_unknown_user_is_refused(broker: SecureBroker) -> None:
    with pytest.raises(Refused, match="refuses user nobody"):
        asyncio.run(check(Cluster(broker.sasl_ssl, security=replace(broker.plain, username="nobody"))))


def test_a_strangers_certificate_is_refused(broker: SecureBroker) -> None:
    strange = replace(broker.tls, ca_file=str(broker.folder / "strangers.pem"))
    with pytest.raises(Refused, match="OO_KAFKA_CA_FILE"):
        asyncio.run(check(Cluster(broker.ssl, security=strange)))


def test_a_certificate_that_no_authority_here_signed_is_refused(broker: SecureBroker) -> None:
    with pytest.raises(Refused, match="OO_KAFKA_CA_FILE"):
        asyncio.run(check(Cluster(broker.ssl, security=Security(protocol="SSL"))))


def test_a_file_that_is_missing_or_no_certificate_is_named(broker: SecureBroker, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="names no file"):
        asyncio.run(check(Cluster(broker.ssl, security=replace(broker.tls, ca_file=str(tmp_path / "missing.pem")))))
    (tmp_path / "empty.pem").touch()
    with pytest.raises(Refused, match=r"ssl\.ca\.location"):
        asyncio.run(check(Cluster(broker.ssl, security=replace(broker.tls, ca_file=str(tmp_path / "empty.pem")))))


def test_a_password_that_was_not_given_is_asked_for() -> None:
    with pytest.raises(Refused, match="needs OO_KAFKA_SASL_USERNAME and OO_KAFKA_SASL_PASSWORD"):
        asyncio.run(check(Cluster("127.0.0.1:1", security=Security(protocol="SASL_SSL", username="somebody"))))


def test_a_listener_of_another_protocol_and_one_that_is_away_are_told_from_a_refusal(broker: SecureBroker) -> None:
    for bootstrap in (broker.sasl_ssl, "127.0.0.1:1"):
        with pytest.raises(Refused, match="OO_KAFKA_SECURITY_PROTOCOL"):
            asyncio.run(check(Cluster(bootstrap), timeout_s=2.0))

"""Worker and edge on a broker that asks for TLS and a password: they work, or say what to mend, and tell nobody."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import called

from deploy.compose import setup
from deploy.stack.running import RunningStack
from streams.cluster import Cluster
from streams.reader import partition_counts
from tests.agents.build import task
from tests.agents.process import AgentProcess, Topics, until
from tests.serving.edges import LiveEdge
from tests.streams.secure import USER, SecureBroker, secure_broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture
def under(servers: RunningStack, broker: SecureBroker) -> Iterator[Topics]:
    topics = Topics(servers, bootstrap=broker.bare)
    yield topics
    topics.close()


def core(servers: RunningStack, under: Topics, broker: SecureBroker, folder: Path, **more: str) -> AgentProcess:
    told = {
        "OO_KAFKA_BOOTSTRAP": broker.sasl_ssl,
        "OO_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "OO_KAFKA_SASL_USERNAME": USER,
        "OO_KAFKA_SASL_PASSWORD": broker.password,
        "OO_KAFKA_CA_FILE": broker.ca_file,
        **more,
    }
    return AgentProcess("core", servers, under, folder, told)


def test_a_signal_becomes_a_tip_over_tls_and_sasl(
    servers: RunningStack, under: Topics, broker: SecureBroker, tmp_path: Path
) -> None:
    worker = core(servers, under, broker, tmp_path).start()
    try:
        under.produce("signals", [task("1", title="Water the plants", priority=1)])
        until(lambda: any(under.read("tips", partition=number) for number in range(8)), alive=worker)
    finally:
        assert worker.stop() == 0
    assert broker.password not in worker.log()


def test_what_the_edge_accepts_stands_in_the_log_over_tls_and_sasl(
    servers: RunningStack,
    under: Topics,
    broker: SecureBroker,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secured = {
        "kafka_bootstrap": broker.sasl_ssl,
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_username": USER,
        "kafka_sasl_password": broker.password,
        "kafka_ca_file": broker.ca_file,
        "topic_prefix": under.prefix,
    }
    with LiveEdge(tmp_path, valkey_url=servers.valkey_url, stack=servers, **secured) as edge:
        edge.until_ready()
        with edge.client("ada") as client:
            body = {"source": "test", "task_upserted": {"external_id": "1", "title": "Water the plants"}}
            assert client.post("/v1/signals", json=body).status_code == 202
    assert sum(len(under.read("signals", partition=number)) for number in range(8)) == 1
    assert broker.password not in caplog.text


def test_an_operators_commands_reach_a_broker_over_tls_and_sasl(
    under: Topics, broker: SecureBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    under.produce("signals", [task("1", title="Water the plants", priority=1)])
    told = {
        "KAFKA_BOOTSTRAP": broker.sasl_ssl,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": broker.password,
        "KAFKA_CA_FILE": broker.ca_file,
        "TOPIC_PREFIX": under.prefix,
    }
    for name, value in told.items():
        monkeypatch.setenv(f"OO_{name}", value)
    # A broker says for a moment of topics that it has just made that it does not lead them.
    until(lambda: called("topics", "--json", check=False).returncode == 0)
    rows = {row["topic"]: row for row in json.loads(called("topics", "--json").stdout)}
    assert rows[f"{under.prefix}signals"]["records"] == 1
    assert json.loads(called("dead-letters", "list", "--json").stdout) == []
    assert json.loads(called("policies", "--json").stdout)["champion"]
    # No worker runs there, so it is not ready.
    status = json.loads(called("status", "--json", check=False).stdout)
    assert (status["kafka"]["bootstrap"], status["workers"], status["stalled"]) == (broker.sasl_ssl, [], [])


def test_topics_are_made_over_tls_and_sasl_by_kafkas_settings_alone(
    broker: SecureBroker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {
        "KAFKA_BOOTSTRAP": broker.sasl_ssl,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": broker.password,
        "KAFKA_CA_FILE": broker.ca_file,
        "TOPIC_PREFIX": "made-there.",
    }
    for name, value in told.items():
        monkeypatch.setenv(f"OO_{name}", value)
    monkeypatch.setattr(sys, "argv", ["setup", "topics"])
    assert setup.main() == 0
    made = Cluster(broker.bare, prefix="made-there.")
    counts = asyncio.run(partition_counts(made, [topic.name for topic in made.topics.values()]))
    assert counts[made.name("journal")] == made.topics["journal"].partitions
    monkeypatch.setattr(sys, "argv", ["setup", "schemas"])
    assert setup.main() == 1
    assert "OO_REGISTRY_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "told, mend",
    [
        ({"OO_KAFKA_SASL_PASSWORD": "not-the-password"}, "OO_KAFKA_SASL_PASSWORD"),
        ({"OO_KAFKA_CA_FILE": "strangers.pem"}, "OO_KAFKA_CA_FILE"),
        ({"OO_KAFKA_SASL_PASSWORD": ""}, "OO_KAFKA_SASL_PASSWORD"),
    ],
    ids=["a wrong password", "a stranger's certificate", "no password"],
)
def test_what_kafka_refuses_ends_the_worker_with_what_to_mend(
    servers: RunningStack, under: Topics, broker: SecureBroker, tmp_path: Path, told: dict[str, str], mend: str
) -> None:
    if "OO_KAFKA_CA_FILE" in told:
        told = {"OO_KAFKA_CA_FILE": str(broker.folder / told["OO_KAFKA_CA_FILE"])}
    worker = core(servers, under, broker, tmp_path, **told).start()
    until(lambda: not worker.running(), alive=worker)
    log = worker.log()
    assert worker.wait() == 1
    assert [line for line in log.splitlines() if line.startswith("core: ") and mend in line], log
    assert "Traceback" not in log
    assert broker.password not in log and "not-the-password" not in log

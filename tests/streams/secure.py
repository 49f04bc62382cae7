"""A broker of its own that asks for TLS and a password: certificates and users are made when it starts."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack.authority import Authority
from deploy.stack.fetch import default_cache, fetch
from deploy.stack.kafka import Kafka, cluster_id, settings
from deploy.stack.state import LOOPBACK, free_port
from streams.access import check
from streams.cluster import Cluster
from streams.security import Security

USER = "oo-worker"


@dataclass(frozen=True, slots=True)
class SecureBroker:
    """Where it listens, and what a client needs."""

    bare: str
    """Without either, for a test's own hands."""
    ssl: str
    sasl_ssl: str
    folder: Path
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    @property
    def scram(self) -> Security:
        return Security(protocol="SASL_SSL", username=USER, password=self.password, ca_file=self.ca_file)

    @property
    def plain(self) -> Security:
        return Security(
            protocol="SASL_SSL", mechanism="PLAIN", username=USER, password=self.password, ca_file=self.ca_file
        )

    @property
    def tls(self) -> Security:
        return Security(protocol="SSL", ca_file=self.ca_file)


@contextmanager
def secure_broker(folder: Path) -> Iterator[SecureBroker]:
    """Apache Kafka with a listener for TLS and one for TLS with SASL; ended with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    ports: list[int] = []
    for _ in range(4):
        ports.append(free_port(taken=ports))
    plain, controller, tls, sasl = ports
    broker = SecureBroker(f"{LOOPBACK}:{plain}", ssl=f"{LOOPBACK}:{tls}", sasl_ssl=f"{LOOPBACK}:{sasl}", folder=folder)
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.certificate())
    (folder / "server.pem").write_bytes(authority.server())
    (folder / "strangers.pem").write_bytes(Authority().certificate())

    cache = default_cache()
    if not cache.kafka.is_dir():
        fetch(cache, on_bytes=lambda *_: None)
    kafka = Kafka(cache, folder / "kafka", plain, controller)
    kafka.data.mkdir(parents=True)
    given = settings(port=plain, controller_port=controller, data=kafka.data)
    for listeners in ("listeners", "advertised.listeners"):
        given[listeners] += f",TLS://{broker.ssl},SASL://{broker.sasl_ssl}"
    given["listener.security.protocol.map"] += ",TLS:SSL,SASL:SASL_SSL"
    given |= {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.sasl.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{broker.password}";'
        ),
    }
    lines = "".join(f"{key}={value}\n" for key, value in given.items())
    kafka.config_file.write_text(lines)
    kafka._run(
        *("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id(), "-c", str(kafka.config_file)),
        *("--add-scram", f"SCRAM-SHA-512=[name={USER},password={broker.password}]"),
    )
    command = kafka.prepare()  # writes the settings of a plain broker
    kafka.config_file.write_text(lines)
    with (folder / "broker.log").open("wb") as log:
        process = subprocess.Popen(command.argv, env=command.env, cwd=command.cwd, stdout=log, stderr=log)
    try:
        deadline_s = time.monotonic() + 60
        while not asyncio.run(kafka.ready()):
            assert process.poll() is None and time.monotonic() < deadline_s, (folder / "broker.log").read_text()
            time.sleep(0.1)
        asyncio.run(check(Cluster(broker.sasl_ssl, security=broker.scram), timeout_s=30))
        yield broker
    finally:
        process.kill()
        process.wait()

"""One Apache Kafka broker that is its own controller, on loopback.

It never listens beyond loopback and never creates a topic by itself.
"""

from __future__ import annotations

import base64
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from deploy.stack import probes
from deploy.stack.fetch import Cache
from deploy.stack.java import FLAGS, archive_flags, class_path, java_env, java_path
from deploy.stack.processes import Command
from deploy.stack.rights import ADMIN
from deploy.stack.secured import Secured
from deploy.stack.state import LOOPBACK, write_private

OFFSETS_RETENTION_MINUTES = 2 * 365 * 24 * 60
"""Far beyond any outage: a group whose offsets were forgotten would read everything again."""

MEMORY = ("-Xms96m", "-Xmx160m", "-XX:MaxMetaspaceSize=128m", "-XX:ReservedCodeCacheSize=48m")


@dataclass(frozen=True, slots=True)
class Proxied:
    """A second listener for clients behind a TCP proxy: where it listens, and the proxy's port that it tells them."""

    port: int
    advertised_port: int


def settings(*, port: int, controller_port: int, data: Path, proxied: Proxied | None = None) -> dict[str, str]:
    """The broker's settings; docker-compose.yml is tested to say the same (it has no proxy)."""
    own = f"BROKER://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}"
    second = (
        {}
        if proxied is None
        else {
            "listeners": f"{own},PROXIED://{LOOPBACK}:{proxied.port}",
            "advertised.listeners": f"{own},PROXIED://{LOOPBACK}:{proxied.advertised_port}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT",
        }
    )
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller_port}",
        "listeners": own,
        "advertised.listeners": own,
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data / "logs"),
        **DURABLE,
        **LEAN,
        **second,
    }


DURABLE = {
    "auto.create.topics.enable": "false",
    "offsets.retention.minutes": str(OFFSETS_RETENTION_MINUTES),
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "min.insync.replicas": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Faust's consumers ask for 10 s; a test may ask for less.
    "group.min.session.timeout.ms": "1000",
}
"""What the product relies on, wherever the broker runs."""

LEAN = {
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "log.cleaner.io.buffer.size": "5242880",
    "num.network.threads": "1",
    "num.io.threads": "2",
    "background.threads": "2",
    # A restart took 12 s with the defaults of these two; with half of the first a busy machine has the broker fence itself.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
"""What one small machine needs."""


def secure_settings(secured: Secured) -> dict[str, str]:
    """What stands over the others on a secure stack: nobody comes in without TLS and a password, nobody does what no ACL allows.

    The broker itself signs in as ADMIN, whom it knows from here: SCRAM's users stand in the log, which ADMIN has to reach first.
    """
    password = secured.kafka[ADMIN]
    plain = (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'username="{ADMIN}" password="{password}" user_{ADMIN}="{password}";'
    )
    return {
        "listener.security.protocol.map": "BROKER:SASL_SSL,CONTROLLER:SASL_SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(secured.server_file),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(secured.ca_file),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.broker.plain.sasl.jaas.config": plain,
        "listener.name.broker.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": plain,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{ADMIN}",
    }


@dataclass(frozen=True, slots=True)
class Kafka:
    """Where the broker's files and ports are."""

    cache: Cache
    data: Path
    port: int
    controller_port: int
    proxied: Proxied | None = None
    secured: Secured | None = None
    archiving: bool = False

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def config_file(self) -> Path:
        return self.data / "server.properties"

    def prepare(self) -> Command:
        """Writes the settings, formats the storage the first time, and says how to start. Blocks for a second then."""
        from deploy.stack import authority

        self.data.mkdir(parents=True, exist_ok=True)
        given = settings(port=self.port, controller_port=self.controller_port, data=self.data, proxied=self.proxied)
        if self.secured is not None:
            authority.ensure(self.secured.ca_file, self.secured.server_file)
            given |= secure_settings(self.secured)
        write_private(self.config_file, "".join(f"{key}={value}\n" for key, value in given.items()).encode())
        if not (self.data / "logs" / "meta.properties").exists():
            self._run(
                "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id(), "-c", str(self.config_file)
            )
        flags = (*MEMORY, *FLAGS, *archive_flags(self.cache.kafka, archiving=self.archiving))
        argv = (java_path(), *flags, *self._classes, "kafka.Kafka", str(self.config_file))
        return Command(argv=argv, env=java_env(), cwd=self.data)

    async def ready(self) -> bool:
        """Whether the broker processes requests."""
        return await probes.kafka(self.port, None if self.secured is None else self.secured.ca_file)

    @property
    def _classes(self) -> tuple[str, ...]:
        quiet = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true")
        return (*quiet, "-cp", class_path([self.cache.kafka]))

    def _run(self, *arguments: str) -> None:
        command = (java_path(), "-Xmx96m", *FLAGS, *archive_flags(self.cache.kafka), *self._classes, *arguments)
        done = subprocess.run(
            command, check=False, env=java_env(), cwd=self.data, capture_output=True, text=True, timeout=120
        )
        if done.returncode != 0:
            raise RuntimeError(f"kafka cannot use {self.data}: {(done.stderr or done.stdout).strip()[-500:]}")


def cluster_id() -> str:
    """A random id in Kafka's own form; one that starts with a dash would be taken for an option."""
    while (name := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return name

"""The schema registry (Apicurio), with its schemas in PostgreSQL: their ids stand in the log for as long as the log.

It never serves its own pages or sends anything about itself anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack import probes
from deploy.stack.fetch import Cache
from deploy.stack.java import FLAGS, archive_flags, java_env, java_path
from deploy.stack.postgres import REGISTRY_DATABASE
from deploy.stack.processes import Command
from deploy.stack.state import LOOPBACK, write_private

MEMORY = ("-Xms64m", "-Xmx192m", "-XX:MaxMetaspaceSize=192m", "-XX:ReservedCodeCacheSize=64m")

SETTINGS = {
    "quarkus.http.host": LOOPBACK,
    "quarkus.management.enabled": "true",
    "quarkus.management.host": LOOPBACK,
    "quarkus.http.access-log.enabled": "false",
    "quarkus.log.level": "WARN",
    'quarkus.log.category."io.apicurio".level': "WARN",
    "quarkus.http.io-threads": "2",
    "quarkus.vertx.event-loops-pool-size": "2",
    "quarkus.vertx.worker-pool-size": "4",
    "quarkus.vertx.internal-blocking-pool-size": "2",
    "quarkus.thread-pool.core-threads": "1",
    "quarkus.thread-pool.max-threads": "8",
    "quarkus.otel.sdk.disabled": "true",
    "quarkus.datasource.metrics.enabled": "false",
    "apicurio.storage.kind": "sql",
    "apicurio.storage.sql.kind": "postgresql",
    "apicurio.datasource.jdbc.initial-size": "1",
    "apicurio.datasource.jdbc.min-size": "1",
    "apicurio.datasource.jdbc.max-size": "8",
    # Else each connection that a restart of PostgreSQL broke fails one request more.
    "quarkus.datasource.postgresql.jdbc.validate-on-borrow": "true",
    "apicurio.storage.connection.retry.initial-delay-ms": "200",
}


@dataclass(frozen=True, slots=True)
class Registry:
    """Where the registry's files and ports are."""

    cache: Cache
    data: Path
    port: int
    management_port: int
    postgres_port: int
    password: str = field(repr=False)
    archiving: bool = False

    @property
    def url(self) -> str:
        """The Confluent-compatible API, for clients."""
        return f"http://{LOOPBACK}:{self.port}/apis/ccompat/v7"

    def prepare(self) -> Command:
        """Writes the settings and says how to start."""
        self.data.mkdir(parents=True, exist_ok=True)
        config = {
            **SETTINGS,
            "quarkus.http.port": str(self.port),
            "quarkus.management.port": str(self.management_port),
            "apicurio.datasource.url": f"jdbc:postgresql://{LOOPBACK}:{self.postgres_port}/{REGISTRY_DATABASE}",
            "apicurio.datasource.username": "registry",
            "apicurio.datasource.password": self.password,
            "apicurio.storage.snapshot.location": str(self.data),
            "apicurio.import.work-dir": str(self.data),
        }
        # Found there by itself: an option that names it would be read as a URI, and a blank in the path would end it.
        file = self.data / "config" / "application.properties"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(file, "".join(f"{key}={value}\n" for key, value in config.items()).encode())
        jar = str(self.cache.registry / "quarkus-run.jar")
        flags = (*MEMORY, *FLAGS, *archive_flags(self.cache.registry, archiving=self.archiving))
        argv = (java_path(), *flags, f"-Djava.io.tmpdir={self.data}", "-jar", jar)
        return Command(argv=argv, env=java_env(), cwd=self.data)

    async def ready(self) -> bool:
        """Whether the API that clients use answers from its database."""
        return await probes.http(self.port, "/apis/ccompat/v7/subjects")

"""How each role signs in to a secure local stack: passwords and the authority, made once in the state folder.

It never talks to a server, and a password stands in no log, no command line and no `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack.rights import ADMIN, RIGHTS
from deploy.stack.state import LOOPBACK, StateFolder, write_private
from deploy.stack.valkey import ROLES
from streams.security import Security

CLIENT_FILES = ("producer", "operator")
"""Roles of clients that are not ours to start: what they need is written as a file of settings for librdkafka."""


@dataclass(frozen=True, slots=True)
class Secured:
    """Passwords by role, and where the certificates stand."""

    ca_file: Path
    server_file: Path
    kafka: Mapping[str, str] = field(repr=False)
    valkey: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, folder: StateFolder) -> Secured:
        """Those of a state folder; passwords that are missing are made."""
        return cls(
            ca_file=folder.secrets / "ca.pem",
            server_file=folder.secrets / "server.pem",
            kafka=folder.words("kafka", (ADMIN, *RIGHTS)),
            valkey=folder.words("valkey", tuple(ROLES)),
        )

    def security(self, role: str) -> Security:
        """How a role signs in to Kafka. ADMIN by PLAIN: the others' SCRAM credentials stand in the log that it writes them to."""
        return Security(
            protocol="SASL_SSL",
            mechanism="PLAIN" if role == ADMIN else "SCRAM-SHA-512",
            username=role,
            password=self.kafka[role],
            ca_file=str(self.ca_file),
        )

    def valkey_url(self, port: int, role: str) -> str:
        """Valkey as this role; the URL holds the password. Nothing for a role that has no business there."""
        return f"valkey://{role}:{self.valkey[role]}@{LOOPBACK}:{port}/0" if role in self.valkey else ""

    def write_client_files(self, folder: StateFolder, bootstrap: str) -> None:
        """What `kcat -F` and other programs on librdkafka read, and what Java's clients do, for the roles of CLIENT_FILES."""
        where = {"bootstrap.servers": bootstrap}
        for role in CLIENT_FILES:
            security = self.security(role)
            _write(client_file(folder, role), {**where, **security.rdkafka()})
            _write(folder.secrets / f"{role}.java.properties", {**where, **_java(security)})


def client_file(folder: StateFolder, role: str) -> Path:
    """Where a client's settings stand, in librdkafka's names."""
    return folder.secrets / f"{role}.properties"


def _java(security: Security) -> dict[str, str]:
    """The settings in the names of Kafka's own client."""
    login = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return {
        "security.protocol": security.protocol,
        "sasl.mechanism": security.mechanism,
        "sasl.jaas.config": f'{login} required username="{security.username}" password="{security.password}";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(security.ca_file),
    }


def _write(path: Path, settings: Mapping[str, str]) -> None:
    write_private(path, "".join(f"{name}={value}\n" for name, value in settings.items()).encode())

"""How a client proves who it is to Kafka: a value, for both client libraries.

Never reads the environment, asks nobody, and never shows a secret.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Literal

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class Security:
    """Protocol and credentials, for both client libraries."""

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str | None = None

    def rdkafka(self) -> dict[str, str]:
        """The settings in librdkafka's names."""
        settings: dict[str, str] = {"security.protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            settings |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password,
            }
        if self.ca_file:
            settings["ssl.ca.location"] = self.ca_file
        return settings

    def aiokafka(self) -> dict[str, Any]:
        """The settings in aiokafka's names. Reads the file of authorities."""
        settings: dict[str, Any] = {"security_protocol": self.protocol, "ssl_context": self.tls()}
        if self.protocol.startswith("SASL"):
            settings |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return settings

    def tls(self) -> ssl.SSLContext | None:
        """What a server's certificate is checked by; None without TLS."""
        return ssl.create_default_context(cafile=self.ca_file) if self.protocol.endswith("SSL") else None


PLAINTEXT = Security()

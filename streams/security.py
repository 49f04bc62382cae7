"""How a client proves who it is to Kafka. Never reads the environment and never logs a secret."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal

import faust


@dataclass(frozen=True, slots=True)
class Security:
    """Protocol and credentials, for both client libraries."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
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

    def faust(self) -> faust.auth.Credentials | None:
        """The same as Faust's credentials; None for plain text."""
        if self.protocol == "PLAINTEXT":
            return None
        context = ssl.create_default_context(cafile=self.ca_file) if self.protocol.endswith("SSL") else None
        if self.protocol == "SSL":
            return faust.SSLCredentials(context)
        return faust.SASLCredentials(
            username=self.username, password=self.password, mechanism=self.mechanism, ssl_context=context
        )


PLAINTEXT = Security()

"""What every composition root is told of Kafka from outside. Never reads the environment itself: its subclasses do."""

from __future__ import annotations

from pydantic import BaseModel, SecretStr

from streams.security import Mechanism, Protocol, Security


class KafkaSettings(BaseModel):
    """What each composition root is told of Kafka, in the words of its environment."""

    kafka_bootstrap: str
    """HOST:PORT of one broker or several, with commas between."""
    kafka_security_protocol: Protocol = "PLAINTEXT"
    """How to speak to Kafka."""
    kafka_sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    """How to sign in, where the protocol has SASL in it."""
    kafka_sasl_username: str = ""
    """Whom to sign in as."""
    kafka_sasl_password: SecretStr = SecretStr("")
    """A secret."""
    kafka_ca_file: str | None = None
    """A PEM with the authorities to trust; the machine's own without it."""

    @property
    def security(self) -> Security:
        """The broker's protocol and our credentials."""
        return Security(
            protocol=self.kafka_security_protocol,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_sasl_username,
            password=self.kafka_sasl_password.get_secret_value(),
            ca_file=self.kafka_ca_file,
        )

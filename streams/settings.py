"""What every composition root is told of the cluster from outside. It never reads the environment itself: subclasses do."""

from __future__ import annotations

from pydantic import BaseModel, SecretStr

from streams.cluster import Cluster
from streams.security import Mechanism, Protocol, Security


class ClusterSettings(BaseModel):
    """The cluster, in the words of the environment."""

    kafka_bootstrap: str
    """HOST:PORT of one broker or several, with commas between."""
    registry_url: str
    """The schema registry's Confluent API, with its path."""
    topic_prefix: str = "oo."
    """Before each topic's and group's name."""
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
    def who(self) -> str:
        """What its Kafka clients call themselves."""
        return "oo"

    @property
    def cluster(self) -> Cluster:
        """The same as one value."""
        security = Security(
            protocol=self.kafka_security_protocol,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_sasl_username,
            password=self.kafka_sasl_password.get_secret_value(),
            ca_file=self.kafka_ca_file,
        )
        return Cluster(
            self.kafka_bootstrap,
            prefix=self.topic_prefix,
            registry_url=self.registry_url,
            security=security,
            who=self.who,
        )

"""Which Kafka, whose topics in it, which schema registry, and how a client proves who it is: one value, made from settings.

It opens no connection, and never reads the environment.
"""

from __future__ import annotations

from dataclasses import dataclass

from streams import topics
from streams.security import PLAINTEXT, Security
from streams.topics import Topic


@dataclass(frozen=True, slots=True)
class Cluster:
    """All that a client of ours needs to know of it.

    >>> cluster = Cluster("127.0.0.1:9092", prefix="test.")
    >>> cluster.name("journal"), cluster.group("core")
    ('test.journal', 'test-core')
    """

    bootstrap: str
    """HOST:PORT of one broker or several, with commas between."""
    prefix: str = "oo."
    """Before each topic's and group's name."""
    registry_url: str = ""
    """The registry's Confluent API, with its path; for whoever writes, or reads what strangers wrote."""
    security: Security = PLAINTEXT
    who: str = "oo"
    """What its clients call themselves, before what for."""

    @property
    def topics(self) -> dict[str, Topic]:
        """Every topic by its short name."""
        return topics.topics(self.prefix)

    def name(self, topic: str) -> str:
        """The full name of a topic, by its short one."""
        return self.topics[topic].name

    def group(self, process: str) -> str:
        """The consumer group of a process of ours."""
        return topics.group(process, prefix=self.prefix)

    def client_id(self, purpose: str) -> str:
        """Who asks, and what for: a topic, or a word.

        >>> cluster = Cluster("127.0.0.1:9092", who="edge")
        >>> cluster.client_id("oo.keys"), cluster.client_id("admin")
        ('edge-keys', 'edge-admin')
        """
        return f"{self.who}-{purpose.removeprefix(self.prefix)}"

    def rdkafka(self) -> dict[str, str]:
        """Where it is and how to sign in, in librdkafka's names."""
        return {"bootstrap.servers": self.bootstrap, **self.security.rdkafka()}

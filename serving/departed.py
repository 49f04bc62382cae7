"""Who has left, as this edge knows it: nothing is taken from them or told of them before they begin again.

It knows nothing while Kafka is away, and nobody waits for it: the door refuses them too.
"""

from __future__ import annotations

from confluent_kafka import KafkaException

from serving.problems import Problem
from streams.cluster import Cluster
from streams.frames import Frames
from streams.reader import Tail, end_offsets, topic_id
from streams.retry import until_done
from tables.leavers import Leavers, Leaving


class Departed:
    """One per process."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.leavers = Leavers(b"")

    async def run(self) -> None:
        """Follow the topic of erasures, whenever Kafka is there, until cancelled."""
        await until_done(self._follow, on=(KafkaException, KeyError, OSError), what="erasures")

    async def _follow(self) -> None:
        topic = self._cluster.name("erasures")
        leaving = Leaving(
            journal_id=await topic_id(self._cluster, "journal"),
            schemas=Frames(),
            ends=lambda: end_offsets(self._cluster, topic),
        )
        self.leavers = leaving.leavers
        await leaving.follow(Tail(self._cluster, topic))

    def check(self, user_id: str) -> None:
        """Raises a 403 problem for somebody who left and has not begun again."""
        if self.leavers.are_gone(user_id):
            raise Problem(403, "left", detail="You have left. POST /v1/me begins again; until then nothing is taken.")

    def since_ms(self, user_id: str) -> int:
        """The time of their leaving; 0 for who never left."""
        word = self.leavers.word_of(user_id)
        return 0 if word is None else word.erased_ms

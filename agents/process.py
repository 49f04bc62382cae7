"""What every process of ours has: a producer, schemas, topic ids, dead letters, and an app where there are partitions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from typing import TYPE_CHECKING

import faust

from agents.in_hand import InHand
from agents.refuse import DeadLetters
from agents.settings import Name, Settings
from streams.app import create_app
from streams.producer import Producer
from streams.reader import Tail, end_offsets, read_partition
from streams.record import Record
from streams.schemas import Schemas
from streams.starting import Starting
from streams.topics import Topic

if TYPE_CHECKING:
    from streams.keys import Keys

HISTORY_WAIT_MS = 200
HISTORY_BYTES_MIN = 256 * 1024
"""Nobody waits for the history: `record` takes what comes within this time together, for a fraction of the work."""

SHADOW_LINGER_MS = 200.0
"""Nor does anybody wait for what shadows say, and Kafka is paid by the batch."""


class Process:
    """One process, made before anything runs in it."""

    def __init__(
        self, name: Name, settings: Settings, *, ids: dict[str, bytes], schemas: Schemas, starting: Starting
    ) -> None:
        self.settings = settings
        self.starting = starting
        self.cluster = settings.cluster
        self.topics = self.cluster.topics
        self.ids = ids
        linger_ms = SHADOW_LINGER_MS if name == "shadow" else 0.0
        self.producer = Producer(self.cluster, client_id=self.cluster.client_id("producer"), linger_ms=linger_ms)
        self._name: Name = name
        self.schemas = schemas
        self.dead_letters = DeadLetters(
            producer=self.producer, schemas=self.schemas, topic=self.topics["dead-letters"].name, topic_ids=ids
        )

    @cached_property
    def app(self) -> faust.App:
        """Made where it is asked for: `shadow` has no partitions, so no app whose watchdog would have to beat."""
        is_patient = self._name == "record"
        fetching = {"fetch_wait_ms": HISTORY_WAIT_MS, "fetch_bytes_min": HISTORY_BYTES_MIN} if is_patient else {}
        return create_app(
            self.cluster.group(self._name),
            cluster=self.cluster,
            data_dir=self.settings.data_dir,
            worker_id=self.settings.worker_id,
            producer=self.producer,
            topic_ids=self.ids,
            starting=self.starting,
            **fetching,
        )

    @cached_property
    def in_hand(self) -> InHand:
        """Counts an end of the process before this one, where it is asked for."""
        return InHand(self.settings.data_dir, ends_max=self.settings.set_aside_after)

    def id_of(self, name: str) -> bytes:
        return self.ids[self.topics[name].name]

    def tail(self, name: str) -> Tail:
        """Follows all of a topic, without a group. `name`: the topic's short one."""
        return Tail(self.cluster, self.topics[name].name, heard=self.starting.moved)

    def keys(self) -> Keys:
        """Everybody's keys, not followed yet. Ends the process where it was not told of the key-encryption keys."""
        from connectors.key_files import KeyFiles
        from streams.keys import Keys

        if self.settings.kek_dir is None:
            raise SystemExit(f"{self._name} needs OO_KEK_DIR: the folder of key-encryption keys")
        return Keys.of(self.cluster, KeyFiles(self.settings.kek_dir))

    async def ends(self, name: str) -> dict[int, int]:
        """High-water mark of each of its partitions."""
        return await end_offsets(self.cluster, self.topics[name].name)

    def read(self, topic: Topic, number: int, start: int = 0, end: int | None = None) -> AsyncIterator[list[Record]]:
        return read_partition(self.cluster, topic.name, number, start=start, end=end)

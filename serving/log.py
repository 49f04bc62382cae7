"""The edge's way into Kafka: frames messages, produces them under the user's key, waits for the acknowledgement.

It reads no topic but that of people's keys, and returning from `send` is the only promise that a message stands in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from google.protobuf.message import Message

from serving import traced
from streams.backoff import PATIENT
from streams.cluster import Cluster
from streams.keys import Keys
from streams.producer import DeliveryFailed, Producer
from streams.reader import Tail
from streams.registry import IncompatibleSchema, RegistryError
from streams.retry import until_done
from streams.schemas import Schemas

log = logging.getLogger(__name__)

ACK_TIMEOUT_S = 10.0
"""Longer than the producer's own delivery timeout, which ends the wait first."""
PENDING_MAX = 4_000
PROBE_KEPT_S = 2.0


class LogUnavailable(Exception):
    """Kafka or the registry does not answer. Part of what was sent may stand in the log; sending again is safe."""


class Log:
    """One producer per process. Create it inside the running loop."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._names = {short: topic.name for short, topic in cluster.topics.items()}
        # One short attempt at a time: `run` repeats them, and a stopping edge waits for no more than one.
        self._schemas = Schemas(cluster, timeout_s=2.0, attempts=1)
        self._registered = False
        self._producer = self._new_producer()
        self._admin = AdminClient({"log_level": 0, "client.id": cluster.client_id("probe"), **cluster.rdkafka()})
        self._probe: tuple[float, bool] = (float("-inf"), False)
        self._probing = asyncio.Lock()

    async def run(self) -> None:
        """Learn the schemas, however long the registry takes to come up; then return."""
        failures = 0
        while not self._registered:
            try:
                await self._schemas.register()
                self._registered = True
            except IncompatibleSchema:
                # Nothing may be written under a contract that the readers do not share.
                log.critical("registry.incompatible", exc_info=True)
                raise
            except RegistryError as error:
                log.warning("registry.unavailable error=%s", type(error).__name__)
                failures += 1
                await asyncio.sleep(PATIENT.pause_s(failures))

    async def follow(self, keys: Keys) -> None:
        """Take people's keys in for ever, also while Kafka comes and goes."""
        topic = self._names["keys"]
        await until_done(lambda: keys.follow(Tail(self.cluster, topic)), on=(KafkaException, KeyError), what="keys")

    async def send(self, name: str, messages: Sequence[tuple[str, Message]]) -> None:
        """Put (user id, message) pairs on the topic with this short name; returns when Kafka has them all.

        Raises LogUnavailable.
        """
        if not self._registered:
            raise LogUnavailable("the schemas are not known yet")
        if self._producer.failure is not None and not self._producer.pending:
            # After a fatal error a producer takes nothing more; after a timeout a fresh one does no harm.
            failed, self._producer = self._producer, self._new_producer()
            with contextlib.suppress(DeliveryFailed):
                await failed.close()
        if self._producer.pending + len(messages) > PENDING_MAX:
            raise LogUnavailable("too many messages wait for Kafka")
        headers = traced.headers()
        try:
            futures = [
                self._producer.produce(
                    self._names[name],
                    key=user_id.encode(),
                    value=self._schemas.frame(name, message),
                    headers=headers,
                )
                for user_id, message in messages
            ]
            async with asyncio.timeout(ACK_TIMEOUT_S):
                await asyncio.gather(*futures)
        except (DeliveryFailed, BufferError, TimeoutError) as error:
            log.warning("log.send_failed topic=%s error=%s", name, type(error).__name__)
            raise LogUnavailable(str(error)) from error

    async def missing(self) -> list[str]:
        """What is away, by name: `registry` until its schemas were learnt once, `kafka` now."""
        missing = [] if self._registered else ["registry"]
        async with self._probing:
            at_s, answers = self._probe
            if time.monotonic() - at_s > PROBE_KEPT_S:
                answers = await asyncio.to_thread(self._answers)
                self._probe = (time.monotonic(), answers)
        return missing if answers else [*missing, "kafka"]

    async def close(self) -> None:
        await self._producer.close()
        self._schemas.close()

    def _new_producer(self) -> Producer:
        return Producer(self.cluster, client_id=self.cluster.client_id("producer"), pending_max=PENDING_MAX)

    def _answers(self) -> bool:
        try:
            found = self._admin.list_topics(timeout=1.0).topics
        except KafkaException:
            return False
        return self._names["reactions"] in found and self._names["signals"] in found

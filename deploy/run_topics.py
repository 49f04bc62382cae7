"""Writes what a run of `oo replay` made again into topics of the run's own, `replay.RUN.decisions` and `.outcomes`, and removes them.

It is made of a run alone, so it can name no other topic. What it writes stands in the run's folder, sealed; it folds nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from deploy.audit import entry_of
from deploy.replay.manifest import Run, RunError
from deploy.stack.rights import RUNS
from deploy.stack.running import RunningStack
from deploy.stack.topics import TIMEOUT_S, admin
from deploy.writing import writing
from oo.v1 import decision_pb2, outcome_pb2
from streams.reader import end_offsets
from streams.topics import Topic

if TYPE_CHECKING:
    from streams.producer import Producer
    from streams.schemas import Schemas

KINDS = {"decisions": decision_pb2.Decision, "outcomes": outcome_pb2.Outcome}
ID_HEADER = "oo_id"
"""Of each record: its decision's or outcome's id, by which a reader takes it once."""
AT_ONCE = 500


class RunTopics:
    """Those of one run. Raises TypeError for anything but a Run."""

    def __init__(self, run: Run, by: RunningStack) -> None:
        """`by`: who may make, write and remove topics of runs."""
        if type(run) is not Run:
            raise TypeError(f"topics of a replay are named by its run, and not by a {type(run).__name__}")
        self._run = run
        self._by = by

    def name(self, kind: str) -> str:
        """The full name."""
        return f"{self._by.cluster.prefix}{RUNS}{self._run.name}.{kind}"

    async def publish(self, *, progress: Callable[[int], None] = lambda _: None) -> int:
        """Write what is not there yet; return how many records that were. `progress` is told of those that Kafka has, some at a time.

        Raises RunError for a run that is not folded to its end, or is being worked at; DeliveryFailed; KafkaException.
        """
        with self._run.held():
            if not self._run.is_folded():
                raise RunError(
                    f"{self._run.name} is not folded to its end: 'oo replay resume {self._run.name}' does that"
                )
            if not self._run.unpublished_file.exists():
                return 0
            async with writing(self._by, client_id="oo-replay") as (producer, schemas):
                entry = entry_of(self._by, f"oo replay run --topics {self._run.name}")
                await producer.produce(self._by.cluster.name("audit"), key=None, value=schemas.frame("audit", entry))
                await asyncio.to_thread(self._make)
                written = 0
                for kind in KINDS:
                    written += await self._write(kind, producer, schemas, progress)
            self._run.unpublished_file.unlink()
            return written

    def remove(self) -> None:
        """Take them away, where they are. Blocks; raises KafkaException."""
        from confluent_kafka import KafkaError, KafkaException

        client = admin(self._by.cluster)
        for future in client.delete_topics([self.name(kind) for kind in KINDS]).values():
            try:
                future.result(TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise

    def _make(self) -> None:
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import NewTopic

        client, topics = admin(self._by.cluster), [self._topic(kind) for kind in KINDS]
        new = [NewTopic(one.name, one.partitions, config=one.config) for one in topics]
        for future in client.create_topics(new).values():
            try:
                future.result(TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    def _topic(self, kind: str) -> Topic:
        """Made as the live one is."""
        return replace(self._by.cluster.topics[kind], name=self.name(kind))

    async def _write(self, kind: str, producer: Producer, schemas: Schemas, progress: Callable[[int], None]) -> int:
        from deploy.replay.sink import read

        front, written = schemas.header(kind, KINDS[kind]), 0
        # Written in order, and by nobody else: what stands there is the beginning of all of it.
        stands = await self._ends(kind)
        for number in self._run.manifest().end:
            rows = islice(read(self._run, number, f"sealed-{kind}"), stands[number], None)
            while some := list(islice(rows, AT_ONCE)):
                for one in some:
                    producer.produce(
                        self.name(kind),
                        key=one["user"].encode(),
                        value=front + one["message"],
                        headers=[(ID_HEADER, one["id"].encode())],
                        partition=number,
                    )
                await producer.acknowledged()
                written += len(some)
                progress(len(some))
        return written

    async def _ends(self, kind: str) -> dict[int, int]:
        # The broker that made it may not have told the others yet.
        for _ in range(100):
            with suppress(KeyError):
                return await end_offsets(self._by.cluster, self.name(kind))
            await asyncio.sleep(0.1)
        return await end_offsets(self._by.cluster, self.name(kind))

"""The raw topics, read by a plain Kafka client that joins no group and knows nothing of the engine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

TIMEOUT_S = 30.0


class Line(NamedTuple):
    """One record."""

    topic: str
    partition: int
    offset: int
    time_ms: int
    key: bytes
    value: bytes | None


class Log:
    """Topics by their short names. Each `news` continues where the last one ended."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap, self._prefix = bootstrap, prefix
        self._at: dict[str, dict[int, int]] = {}
        self._client = self._consumer("faults-oracle")

    def close(self) -> None:
        self._client.close()

    def ends(self, topic: str) -> dict[int, int]:
        """The offset after the last record of each partition."""
        name = self._prefix + topic
        until_s = time.monotonic() + 4 * TIMEOUT_S
        while True:
            try:
                numbers = self._client.list_topics(name, timeout=TIMEOUT_S).topics[name].partitions
                return {
                    number: self._client.get_watermark_offsets(TopicPartition(name, number), timeout=TIMEOUT_S)[1]
                    for number in numbers
                }
            except KafkaException:
                # A broker that was just killed, or is short of time, leads nothing for a moment.
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.5)

    def news(self, topic: str, *, again: bool = False) -> Iterator[Line]:
        """What was written since the last call, in order within a partition; all of it with `again`."""
        name = self._prefix + topic
        at = {} if again else self._at.setdefault(topic, {})
        ends = self.ends(topic)
        open_ = {number for number, end in ends.items() if at.get(number, 0) < end}
        if not open_:
            return
        self._client.assign([TopicPartition(name, number, at.get(number, 0)) for number in open_])
        until_s = time.monotonic() + 4 * TIMEOUT_S
        while open_:
            if time.monotonic() > until_s:
                raise TimeoutError(f"{name} cannot be read to its end")
            for message in self._client.consume(1000, 0.5):
                number, offset, error = message.partition(), message.offset(), message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                assert number is not None and offset is not None
                # Compaction leaves holes: the end mark carries the next offset.
                reached = offset if error is not None else offset + 1
                if number in open_ and (error is not None or offset < ends[number]):
                    at[number] = max(reached, at.get(number, 0))
                    if error is None:
                        key = message.key() or b""
                        yield Line(topic, number, offset, message.timestamp()[1], key, message.value())
                if at.get(number, 0) >= ends[number]:
                    open_.discard(number)
        self._client.unassign()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """What the group has committed; 0 where nothing yet."""
        client = self._consumer(group)
        try:
            name = self._prefix + topic
            wanted = [TopicPartition(name, number) for number in self.ends(topic)]
            until_s = time.monotonic() + 4 * TIMEOUT_S
            while True:
                try:
                    return {at.partition: max(at.offset, 0) for at in client.committed(wanted, timeout=TIMEOUT_S)}
                except KafkaException:
                    if time.monotonic() > until_s:
                        raise
                    time.sleep(0.5)
        finally:
            client.close()

    def _consumer(self, group: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )

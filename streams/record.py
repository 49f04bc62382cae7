"""What is read from Kafka: a record, and a batch of one partition's records. Never decodes a key or a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Record(NamedTuple):
    """One record as it stands in the log; live and bounded readers give the same type.

    A tuple, not a dataclass: one is made per record read, and this costs a third.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition in offset order, never empty; offsets may have holes."""

    topic: str
    partition: int
    records: tuple[Record, ...]
    generation: int
    """Of the consumer group's assignment under which it was fetched."""

    @property
    def first(self) -> int:
        """Offset of the first record."""
        return self.records[0].offset

    @property
    def last(self) -> int:
        """Offset of the last record."""
        return self.records[-1].offset

"""The messages of our own topics, on which anybody with the right to write may put anything.

What does not unframe is said and passed over: it ends nothing. It sends no dead letter, and is not for public topics.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator

from google.protobuf.message import Message

from streams.frames import Frames
from streams.metrics import SKIPPED
from streams.record import Record
from streams.wire import BadFrame

logger = logging.getLogger(__name__)


async def messages(
    schemas: Frames, name: str, records: AsyncIterable[list[Record]]
) -> AsyncIterator[tuple[Record, Message]]:
    """Yield each record with its message, as long as records come. `name`: the topic's short one."""
    async for some in records:
        for record in some:
            message = read(schemas, name, record)
            if message is not None:
                yield record, message


def read(schemas: Frames, name: str, record: Record) -> Message | None:
    """Return the record's message; None for a tombstone, and for what is no message, which is said."""
    if record.value is None:
        return None
    try:
        return schemas.unframe(name, record.value)
    except BadFrame as bad:
        pass_over(record, bad.reason)
        return None


def pass_over(record: Record, reason: str) -> None:
    """Count and log a record that nobody of ours wrote."""
    SKIPPED[record.topic,] += 1
    logger.warning(
        "record.skipped topic=%s partition=%d offset=%d reason=%s",
        record.topic,
        record.partition,
        record.offset,
        reason,
    )

"""Reads topics without a consumer group: bounded for recovery, verify and replay, endless for policies.

Never commits, and never waits for an offset that is only a hole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from streams.record import Record
from streams.security import PLAINTEXT, Security


def read_partition(
    bootstrap: str,
    topic: str,
    partition: int,
    *,
    start: int = 0,
    end: int | None = None,
    security: Security = PLAINTEXT,
) -> AsyncIterator[list[Record]]:
    """Yield the partition's records in [start, end) in large lists; `end` None means its end now."""
    raise NotImplementedError


class Tail:
    """Follows all partitions of a topic from the beginning, for ever: `async for records in Tail(...)`.

    `caught_up` is set once the loop body has finished with everything that stood in the topic at the start.
    """

    caught_up: asyncio.Event

    def __init__(self, bootstrap: str, topic: str, *, security: Security = PLAINTEXT) -> None:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[list[Record]]:
        raise NotImplementedError


async def topic_ids(bootstrap: str, names: Sequence[str], *, security: Security = PLAINTEXT) -> dict[str, bytes]:
    """Kafka's 16-byte ids of the topics; a recreated topic has another. Raises KeyError for one that is missing."""
    raise NotImplementedError


async def end_offsets(bootstrap: str, topic: str, *, security: Security = PLAINTEXT) -> dict[int, int]:
    """High-water mark of each partition."""
    raise NotImplementedError


async def committed(
    bootstrap: str, group: str, topic: str, *, security: Security = PLAINTEXT
) -> dict[int, int | None]:
    """Committed offset of the group in each partition; None where it never committed."""
    raise NotImplementedError

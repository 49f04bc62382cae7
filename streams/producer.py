"""Writes to Kafka through librdkafka: idempotent, bounded, keyed by murmur2.

Never drops a failed delivery in silence: the record's future fails, and `on_failure` hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from streams.security import PLAINTEXT, Security

MESSAGE_BYTES_MAX = 4 * 1024 * 1024


class Delivered(NamedTuple):
    """Where a record came to stand, acknowledged by all in-sync replicas."""

    topic: str
    partition: int
    offset: int


class DeliveryFailed(Exception):
    """Kafka did not take a record within the delivery timeout, or refused it."""


class Producer:
    """One connection for all of a process's writes. Create and use it inside one running event loop."""

    failure: DeliveryFailed | None
    """The first failed delivery, or None."""

    def __init__(
        self,
        bootstrap: str,
        *,
        client_id: str = "oo",
        security: Security = PLAINTEXT,
        linger_ms: float = 0,
        delivery_timeout_ms: int = 8_000,
        pending_max: int = 20_000,
        pending_bytes_max: int = 64 * 1024 * 1024,
        on_failure: Callable[[DeliveryFailed], None] | None = None,
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Open the client; nothing is sent yet.

        `delivery_timeout_ms` stays below the consumer's session timeout, so that a worker that lost its
        partitions cannot deliver late. `guard` runs before each produce and may raise (see streams/pulse.py).
        """
        raise NotImplementedError

    def produce(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int | None = None,
    ) -> asyncio.Future[Delivered]:
        """Queue one record; the future resolves once it is acknowledged, or fails with DeliveryFailed.

        Returning does not mean delivered. The future may be dropped: `flush` and `on_failure` still cover it.
        Raises BufferError past the hard bound (twice `pending_max`): await `room` first.
        """
        raise NotImplementedError

    async def room(self) -> None:
        """Wait until there is room for more (back pressure): call it before each burst."""
        raise NotImplementedError

    async def flush(self) -> None:
        """Wait until all that was produced before this call is acknowledged; raises DeliveryFailed if any failed."""
        raise NotImplementedError

    async def close(self) -> None:
        """Flush, then close. Raises as flush does."""
        raise NotImplementedError

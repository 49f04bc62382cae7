"""Runs a handler over a stream of batches: in order within a partition, concurrently across partitions.

Never acknowledges a batch whose handler has not returned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import faust

from streams.record import Batch


class Partitions:
    """The life of one topic's assigned partitions in this process.

    `await handle(batch)` runs once per batch, after `await on_assigned({partition})` of its partition has
    returned. A handler that raises ends the process, its batch uncommitted. `on_revoked` drops state: it is called
    when no handler of that partition runs any more. Both hooks get the partitions' numbers, one or more at a time;
    a rebalance that leaves a partition here calls neither.
    """

    def __init__(
        self,
        app: faust.App,
        topic: str,
        handle: Callable[[Batch], Awaitable[None]],
        *,
        on_assigned: Callable[[set[int]], Awaitable[None]] | None = None,
        on_revoked: Callable[[set[int]], Awaitable[None]] | None = None,
        queue_batches_max: int = 4,
        drain_timeout_s: float = 5.0,
        stalled_after_s: float = 60.0,
    ) -> None:
        raise NotImplementedError

    async def run(self, stream: faust.Stream[Any]) -> None:
        """Consume the stream for ever: `@app.agent(app.topic("oo.journal")) async def recommend(stream): ...`."""
        raise NotImplementedError

    def assigned(self) -> frozenset[int]:
        """Partitions whose state is loaded and whose batches are handled here now."""
        raise NotImplementedError

    def lag(self, partition: int) -> int:
        """Records of the partition not yet handled, by the high-water mark of the last fetch. Never blocks."""
        raise NotImplementedError

    def position(self, partition: int) -> int | None:
        """Offset after the last handled record; None before the first."""
        raise NotImplementedError

"""What the parts of one running app share, and what each needs of another: its producer, its partitions, its end.

It knows none of the parts by name, so that none of them has to know the others; it never speaks to Kafka.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from faust.types import TP, AppT

from streams.offsets import Ledger
from streams.producer import Producer
from streams.record import Batch
from streams.starting import Starting
from streams.watchdog import Watchdog

log = logging.getLogger(__name__)


class Flow(Protocol):
    """What partitions need of the consumer."""

    ledger: Ledger

    def hold(self, tp: TP) -> None:
        """Fetch no more of this partition until `release`."""

    def release(self, tp: TP) -> None:
        """Fetch it again."""

    def handled(self) -> None:
        """Note that a round has run."""

    def finished(self, batch: Batch) -> None:
        """Note that the handler of this batch returned."""

    def progress(self, tp: TP) -> tuple[int, int, int] | None:
        """Position, end and time of the last fetch of an assigned partition, once fetched."""


class Lives(Protocol):
    """What the consumer needs of one topic's partitions."""

    topic: str

    def take(self, batch: Batch) -> None:
        """A batch has arrived."""

    async def assign(self, partitions: set[int], *, generation: int) -> None:
        """Begin the lives of a new assignment; batches follow."""

    async def drain(self) -> None:
        """Handle nothing more, and wait for the handlers that run."""

    async def close(self) -> None:
        """End every partition's life."""


@dataclass(slots=True)
class RunState:
    """One app's run. Make it inside the running loop."""

    producer: Producer
    watchdog: Watchdog
    fetch_wait_ms: int
    fetch_bytes_min: int
    starting: Starting
    topic_ids: Mapping[str, bytes] = field(default_factory=dict)
    """By name: of each topic here that a fetch and a commit are of. Without it they are of whatever has the name."""
    partitions: dict[str, Lives] = field(default_factory=dict)
    """By topic."""
    flow: Flow | None = None
    """The consumer, once Faust has made it."""
    rebalancing_since: float | None = field(default_factory=time.monotonic)
    """Monotonic seconds; None while an assignment stands."""
    failure: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def failed(self) -> bool:
        """Whether this process is about to end."""
        return self.failure.done()

    def fail(self, error: BaseException) -> None:
        """End the process: the first call counts. Call it in the loop's thread."""
        if self.failed:
            # What follows from the first: a hundred traces of it would bury the one that says why.
            log.debug("worker.failed_again error=%r", error)
            return
        log.critical("worker.failed error=%r", error, exc_info=error)
        self.failure.set_exception(error)
        self.failure.exception()  # serve() raises it; asyncio need not complain if nothing waits yet.


def run_state_of(app: AppT) -> RunState:
    """The state of an app that `create_app` made."""
    found = getattr(app.transport, "run_state", None)
    assert isinstance(found, RunState), "make the app with create_app"
    return found

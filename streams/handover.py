"""What the Kafka client's thread and the app's loop hand each other: what may be fetched, and what was.

It never waits in the client's thread and never touches a record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from faust.types import TP

from streams.record import Batch


class Aim(NamedTuple):
    """What the client's thread may fetch: one value, so that both parts are of one moment."""

    epoch: int
    partitions: frozenset[TP]


class Push(NamedTuple):
    """What one look at the fetched records gave: of each partition that moved, its batch if there is one, and its position."""

    epoch: int
    batches: list[tuple[TP, Batch | None, int]]


class Handover:
    """Belongs to the app's loop; the client's thread reads `aim` and `taken`, waits for `handled`, and calls `arrived` over that loop."""

    def __init__(self, deliver: Callable[[Push], None]) -> None:
        self.aim = Aim(0, frozenset())
        """Its epoch changes whenever the flow stops, so that what was fetched before is known as overtaken."""
        self.taken = 0
        """Pushes that have come into the app's loop."""
        self.handled = threading.Event()
        """A round has run since the client's thread last cleared it."""
        self._deliver = deliver

    def arrived(self, push: Push) -> None:
        """Take what was fetched."""
        self.taken += 1  # First: `deliver` may have the client's thread look whether there is room.
        self._deliver(push)

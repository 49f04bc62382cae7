"""What is to happen in a simulation, in the order of time. It never waits, and never makes anything happen itself."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import count

from deploy.simulator.life import Act
from oo.v1 import decision_pb2, journal_pb2, reaction_pb2

Event = Act | reaction_pb2.Reaction | journal_pb2.Tick | decision_pb2.Decision
"""A decision: its slate is to be scored, if no newer one stands."""


class Agenda:
    """Events by time; equal times in the order in which they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str, Event, Iterator[Act] | None]] = []
        self._count = count()

    def add(self, time_ms: int, user_id: str, what: Event, *, then: Iterator[Act] | None = None) -> None:
        """One event; `then` comes after it, one at a time."""
        heapq.heappush(self._heap, (time_ms, next(self._count), user_id, what, then))

    def follow(self, user_id: str, acts: Iterator[Act]) -> None:
        """All of a person's acts, of which only the next is held."""
        act = next(acts, None)
        if act is not None:
            self.add(act.time_ms, user_id, act, then=acts)

    @property
    def next_ms(self) -> int | None:
        """When the next event is; None for none."""
        return self._heap[0][0] if self._heap else None

    def pop(self) -> tuple[int, str, Event]:
        """(time, user, event): the next one, taken out."""
        time_ms, _, user_id, what, then = heapq.heappop(self._heap)
        if then is not None:
            self.follow(user_id, then)
        return time_ms, user_id, what

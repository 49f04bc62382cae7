"""Records of several partitions in one order that follows from the records alone, however they arrive.

It goes by time, then topic, partition and offset; a record's time is the greatest up to it in its partition. A record is given
out once every other partition has shown a later one, or was seen at its end after that time: where brokers set the times
(LogAppendTime), nothing earlier can come any more. So nobody is waited for that has nothing to say. What comes too late all the
same, by a clock that is more than the slack off, comes next. It never reads a topic or a clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from streams.record import Record

SLACK_MS = 1_000
"""How far brokers' clocks and ours may lie apart."""

Place = tuple[str, int]
"""Topic and partition."""
Key = tuple[int, int, int, int]
"""Time, the topic's rank, partition, offset."""


@dataclass(slots=True)
class Line:
    """One partition."""

    rank: int
    next: int
    """Offset of the next record to be given out."""
    time_ms: int = 0
    """The greatest so far of what came."""
    given_ms: int = 0
    """The same of what was given out."""
    reached: int = 0
    """Everything below this offset has come."""
    quiet_ms: float = -inf
    """Nothing earlier than this can come any more, if nothing waits."""
    waiting: deque[tuple[int, Record]] = field(default_factory=deque)
    """What has come and was not given out, each with its time."""


class InOrder:
    """Put records in as they come, and take them out in order. The same records give the same order."""

    def __init__(self, ranks: Mapping[str, int], starts: Mapping[Place, int], *, slack_ms: int = SLACK_MS) -> None:
        """`ranks`: of the topics, the least goes first among records of the same time; `starts`: where each partition begins.

        >>> lines = InOrder({"a": 0, "b": 1}, {("a", 0): 0, ("b", 0): 0})
        >>> lines.put([Record("b", 0, 0, 5, None, b"later"), Record("a", 0, 0, 3, None, b"sooner")])
        >>> lines.take().value, lines.take()  # "a" may still say something of before 5
        (b'sooner', None)
        >>> lines.seen({("a", 0): 1, ("b", 0): 1}, at_ms=6 + SLACK_MS)
        >>> lines.take().value
        b'later'
        """
        self._slack_ms = slack_ms
        self._lines = {place: Line(ranks[place[0]], start, reached=start) for place, start in starts.items()}
        self._heads: list[tuple[Key, Place]] = []
        self._bound_ms: float | None = None
        """From this time on something may come; None where that has to be found out."""
        self._given: Key = (0, 0, 0, -1)
        self.late = 0
        """Records that came too late to be given out in their place."""

    def put(self, records: Sequence[Record]) -> None:
        """Take in what has come: of each partition in the order of its offsets."""
        self._bound_ms = None
        for record in records:
            place = record.topic, record.partition
            line = self._lines[place]
            line.time_ms = max(line.time_ms, record.timestamp_ms)
            line.reached = record.offset + 1
            line.waiting.append((line.time_ms, record))
            if len(line.waiting) == 1:
                self._show(place, line)

    def reach(self, place: Place, offset: int) -> None:
        """Everything below this offset has come, holes included."""
        self._lines[place].reached = max(self._lines[place].reached, offset)

    def seen(self, ends: Mapping[Place, int], *, at_ms: int) -> None:
        """Each partition ended here at that time or later, by our clock."""
        self._bound_ms = None
        for place, end in ends.items():
            line = self._lines[place]
            if line.reached >= end:
                line.quiet_ms = max(line.quiet_ms, at_ms - self._slack_ms)

    def take(self) -> Record | None:
        """Return the next record, None while something earlier may come."""
        if not self._heads:
            return None
        if self._bound_ms is None:
            quiet = (line for line in self._lines.values() if not line.waiting)
            self._bound_ms = min((max(line.quiet_ms, line.time_ms) for line in quiet), default=inf)
        if self._heads[0][0][0] >= self._bound_ms:
            return None
        key, place = heapq.heappop(self._heads)
        line = self._lines[place]
        line.given_ms, record = line.waiting.popleft()
        line.next = record.offset + 1
        if key < self._given:
            self.late += 1
        self._given = max(self._given, key)
        if line.waiting:
            self._show(place, line)
        else:
            self._bound_ms = None
        return record

    def waiting(self, place: Place) -> int:
        """How many records of it have come and were not given out."""
        return len(self._lines[place].waiting)

    def next(self, place: Place) -> int:
        """Offset of the next record of it."""
        return self._lines[place].next

    def behind(self, ends: Mapping[Place, int]) -> dict[Place, int]:
        """How many offsets of each are not given out, if it ends there; what only holes are left of is not behind."""
        return {
            place: end - self._lines[place].next
            if self._lines[place].waiting or self._lines[place].reached < end
            else 0
            for place, end in ends.items()
        }

    def state(self) -> list[tuple[Place, int, int]]:
        """Where each partition goes on, and its time: what `restore` takes."""
        return [(place, line.next, line.given_ms) for place, line in sorted(self._lines.items())]

    def restore(self, state: Sequence[tuple[Place, int, int]]) -> None:
        """Go on from there, before anything has come."""
        for place, start, time_ms in state:
            line = self._lines[place]
            line.next = line.reached = start
            line.time_ms = line.given_ms = time_ms
        self._bound_ms = None

    def _show(self, place: Place, line: Line) -> None:
        time_ms, record = line.waiting[0]
        heapq.heappush(self._heads, ((time_ms, line.rank, record.partition, record.offset), place))

"""When rows next want to be woken: a heap of times, the newest word for each user. Never reads a clock."""

from __future__ import annotations

import heapq
import sys

RETRY_MS = 5_000
"""A tick that was sent and not yet folded is sent again after this; the row takes only one of them."""


class Timers:
    """Next wake by user.

    >>> timers = Timers()
    >>> timers.set("ada", wake_ms=100); timers.set("ada", wake_ms=200); timers.set("bob", wake_ms=150)
    >>> timers.due(now_ms=160, limit=10), timers.due(now_ms=160, limit=10), timers.due(now_ms=250, limit=10)
    ([('bob', 150)], [], [('ada', 200)])
    """

    def __init__(self) -> None:
        self.until_ms = sys.maxsize
        """Wakes after this are not kept: whoever moves it on sets those that it passes."""
        self._wakes: dict[str, tuple[int, int]] = {}
        """By user: the time, and the number of the word that set it."""
        self._heap: list[tuple[int, str, int]] = []
        """(when, user, number): one whose number is not the user's last is out of date, and goes when met."""
        self._words = 0

    def set(self, user_id: str, *, wake_ms: int) -> None:
        """The row's next wake is now this; 0 for never."""
        if wake_ms == 0 or wake_ms > self.until_ms:
            self._wakes.pop(user_id, None)
        elif user_id not in self._wakes or self._wakes[user_id][0] != wake_ms:
            self._words += 1
            self._wakes[user_id] = (wake_ms, self._words)
            heapq.heappush(self._heap, (wake_ms, user_id, self._words))
            if len(self._heap) > 64 + 4 * len(self._wakes):
                # Words that are out of date lie there until their time, which may be a day.
                self._heap = [item for item in self._heap if self._is_last(item)]
                heapq.heapify(self._heap)

    def due(self, *, now_ms: int, limit: int) -> list[tuple[str, int]]:
        """Users whose time has come, with that time; each is given again after RETRY_MS until it is set anew."""
        found: list[tuple[str, int]] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < limit:
            item = heapq.heappop(self._heap)
            if self._is_last(item):
                _, user_id, number = item
                found.append((user_id, self._wakes[user_id][0]))
                heapq.heappush(self._heap, (now_ms + RETRY_MS, user_id, number))
        return found

    def __len__(self) -> int:
        return len(self._wakes)

    def _is_last(self, item: tuple[int, str, int]) -> bool:
        _, user_id, number = item
        return user_id in self._wakes and self._wakes[user_id][1] == number

"""When rows next want to be woken: a heap of times, the newest word for each user. Never reads a clock."""

from __future__ import annotations

import heapq

RETRY_MS = 5_000
"""A tick that was sent and not yet folded is sent again after this; the row takes only one of them."""


class Wheel:
    """Next wake by user.

    >>> wheel = Wheel()
    >>> wheel.set("ada", wake_ms=100); wheel.set("ada", wake_ms=200); wheel.set("bob", wake_ms=150)
    >>> wheel.due(now_ms=160, limit=10), wheel.due(now_ms=160, limit=10), wheel.due(now_ms=250, limit=10)
    ([('bob', 150)], [], [('ada', 200)])
    """

    def __init__(self) -> None:
        self._wakes: dict[str, int] = {}
        self._heap: list[tuple[int, str, int]] = []

    def set(self, user_id: str, *, wake_ms: int) -> None:
        """The row's next wake is now this; 0 for never."""
        if wake_ms == 0:
            self._wakes.pop(user_id, None)
        elif self._wakes.get(user_id) != wake_ms:
            self._wakes[user_id] = wake_ms
            heapq.heappush(self._heap, (wake_ms, user_id, wake_ms))

    def due(self, *, now_ms: int, limit: int) -> list[tuple[str, int]]:
        """Users whose time has come, with that time; each is given again after RETRY_MS until it is set anew."""
        found: list[tuple[str, int]] = []
        again: list[tuple[int, str, int]] = []
        while self._heap and self._heap[0][0] <= now_ms and len(found) < limit:
            _, user_id, wake_ms = heapq.heappop(self._heap)
            if self._wakes.get(user_id) == wake_ms:
                found.append((user_id, wake_ms))
                again.append((now_ms + RETRY_MS, user_id, wake_ms))
        for item in again:
            heapq.heappush(self._heap, item)
        return found

    def __len__(self) -> int:
        return len(self._wakes)

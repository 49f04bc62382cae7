"""What stands for the users who asked last, ready to be sent.

It never knows whether what it holds still holds: who reads it does (serving/current.py).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

BYTES_MAX = 128 * 1024 * 1024
"""About 100,000 users whose tips are as long as most are; the one who asked longest ago goes first."""
ENTRY_BYTES = 900
"""What an entry takes beside its body: measured, rounded up."""
NEVER = "none"
"""The state of a user of whom no tip was ever written, not even that there is none."""


@dataclass(frozen=True, slots=True)
class Current:
    """What stands for a user. `event_id` names this very state; `body` is the tip as a client gets it, None for no tip."""

    event_id: str
    body: bytes | None = None
    decision_id: str = ""
    valid_until_ms: int = 0
    traceparent: bytes = b""
    """The span of its decision, where that is traced."""


class Memory:
    """
    >>> memory = Memory(bytes_max=2 * ENTRY_BYTES + 10)
    >>> for user_id in ("ada", "bob"):
    ...     memory.put(user_id, Current(event_id="none"))
    >>> memory.get("ada") is not None
    True
    >>> memory.put("eve", Current(event_id="none"))
    >>> [user_id for user_id in ("ada", "bob", "eve") if memory.get(user_id)]
    ['ada', 'eve']
    """

    def __init__(self, *, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._entries: OrderedDict[str, Current] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, user_id: str) -> Current | None:
        found = self._entries.get(user_id)
        if found is not None:
            self._entries.move_to_end(user_id)
        return found

    def put(self, user_id: str, current: Current) -> None:
        self.drop(user_id)
        self._entries[user_id] = current
        self._bytes += _bytes(current)
        while self._bytes > self._bytes_max:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= _bytes(oldest)

    def drop(self, user_id: str) -> None:
        dropped = self._entries.pop(user_id, None)
        if dropped is not None:
            self._bytes -= _bytes(dropped)

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0


def _bytes(current: Current) -> int:
    return ENTRY_BYTES + len(current.body or b"")

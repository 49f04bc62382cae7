"""Where one partition of a table keeps its values: raw bytes by key, written many at a time, all of them or none.

Two stores under one protocol: this one in memory, and `tables.rocks` on disk. Neither reads a topic, and neither is
the truth: the changelog is, and a store that is lost is rebuilt from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

Head = Callable[[bytes], bytes]
"""The front of a value: the few bytes by which it is compared with another one. Kept apart, so that nothing has to read
whole values to compare, to look for one, or to start."""

NOTHING: Mapping[bytes, bytes] = {}


class StoreFailed(Exception):
    """The disk is full, gone, held by another process, or damaged; one line. Whoever meets it has to end."""


class Store(Protocol):
    """One partition's values, their heads, and a few values beside them ("side")."""

    @property
    def checkpoint(self) -> int | None:
        """The changelog offset below which this store has everything; None for one that was never complete."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of this key."""

    def heads(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the heads of these keys, in their order."""

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its head, in no promised order. What is written meanwhile may or may not be seen."""

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its value, as they stood when this was called."""

    def side(self, name: bytes) -> bytes | None:
        """Return a value beside the others."""

    def write(
        self,
        values: Mapping[bytes, bytes | None],
        *,
        side: Mapping[bytes, bytes] = NOTHING,
        checkpoint: int | None = None,
    ) -> None:
        """All of it or nothing; None deletes. Returning means that it outlives this process, not this machine."""

    def load(self, values: Mapping[bytes, bytes | None]) -> None:
        """As `write`, for a store that has no checkpoint: it has to outlive this process only once it gets one, and was
        settled or closed after that."""

    def move_loaded(self, most: int) -> bool:
        """Bring at most so many of the loaded values to where they stay; whether there are more."""

    def count(self) -> int:
        """About how many values there are."""

    def reset(self) -> None:
        """Empties it."""

    def close(self) -> None:
        """Give back what it holds; what was written stays."""


class MemoryStore:
    """A store that ends with its process.

    >>> store = MemoryStore(head=lambda value: value[:1])
    >>> store.write({b"ada": b"7 tasks"}, checkpoint=4)
    >>> store.get(b"ada"), store.heads([b"ada", b"bob"]), store.checkpoint
    (b'7 tasks', [b'7', None], 4)
    """

    def __init__(self, *, head: Head) -> None:
        self._head = head
        self._values: dict[bytes, bytes] = {}
        self._side: dict[bytes, bytes] = {}
        self._checkpoint: int | None = None

    @property
    def checkpoint(self) -> int | None:
        return self._checkpoint

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def heads(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found = map(self._values.get, keys)
        return [None if value is None else self._head(value) for value in found]

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        return zip(list(self._values), map(self._head, list(self._values.values())), strict=True)

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self._values.items()))

    def side(self, name: bytes) -> bytes | None:
        return self._side.get(name)

    def write(
        self,
        values: Mapping[bytes, bytes | None],
        *,
        side: Mapping[bytes, bytes] = NOTHING,
        checkpoint: int | None = None,
    ) -> None:
        self.load(values)
        self._side.update(side)
        if checkpoint is not None:
            self._checkpoint = checkpoint

    def load(self, values: Mapping[bytes, bytes | None]) -> None:
        self._values.update(values)  # type: ignore[arg-type] # and those that are None go
        for key in [key for key, value in values.items() if value is None]:
            del self._values[key]

    def move_loaded(self, most: int) -> bool:
        return False

    def count(self) -> int:
        return len(self._values)

    def reset(self) -> None:
        self._values, self._side, self._checkpoint = {}, {}, None

    def close(self) -> None:
        self.reset()

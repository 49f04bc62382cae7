"""Where a fold keeps people's rows: some megabytes of them in memory, all others on a disk that goes with it. So it takes the same memory however many
records and people there are, and is no slower where people are few. It knows no server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tables.rocks import Rocks
from tables.row import FENCE_BYTES
from tables.store import Head, Store

Scratch = Callable[[str, Head], Store]
"""Makes an empty store under a name, on that disk."""
HELD_BYTES_MAX = 32 * 1024 * 1024


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Where stores can be made; nothing is left of them."""
    with TemporaryDirectory(prefix="oo-fold-") as folder, ExitStack() as closing:

        def made(name: str, head: Head) -> Store:
            store = Rocks(Path(folder) / name, b"", head).open(0)
            closing.callback(store.close)
            return store

        yield made


class Rows:
    """A fold's rows, serialized, by user. The store is made once they are more than fit."""

    def __init__(self, made: Scratch, *, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        self._made, self._held_bytes_max = made, held_bytes_max
        self._store: Store | None = None
        self._held: dict[str, bytes] = {}
        """Newer than what the store has of the same people."""
        self._bytes = 0

    def get(self, user_id: str) -> bytes | None:
        """This person's row."""
        row = self._held.get(user_id)
        return self._store.get(user_id.encode()) if row is None and self._store is not None else row

    def update(self, changed: Mapping[str, bytes]) -> None:
        """Replaces these people's."""
        for user_id, row in changed.items():
            self._bytes += len(row) - len(self._held.get(user_id, b""))
            self._held[user_id] = row
        if self._bytes > self._held_bytes_max:
            self._put_away()

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Everybody's, in the order of their names."""
        if self._store is None:
            return iter(sorted(self._held.items()))
        self._put_away()
        # RocksDB walks its keys in their order, which in UTF-8 is that of the names.
        return ((key.decode(), row) for key, row in self._store.values())

    def fences(self) -> list[tuple[str, bytes]]:
        """Everybody's, in no promised order."""
        if self._store is None:
            return [(user_id, _fence(row)) for user_id, row in self._held.items()]
        self._put_away()
        return [(key.decode(), head) for key, head in self._store.scan()]

    def _put_away(self) -> None:
        if self._store is None:
            self._store = self._made("fold", _fence)
        self._store.write({user_id.encode(): row for user_id, row in self._held.items()})
        self._held, self._bytes = {}, 0


def _fence(row: bytes) -> bytes:
    return row[:FENCE_BYTES]

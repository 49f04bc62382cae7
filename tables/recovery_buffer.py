"""Where values lie that are read from a changelog into an empty disk, before they come to where they stay.

A file without a name, written end to end, and its index in memory: a fifth of what RocksDB takes for a value, and gone
with its process. Never the only place of anything: the changelog has it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tables.store import Head

_WRITTEN_AT_ONCE = 1_000
"""Linux takes 1,024 pieces in a call."""
_LENGTH_BITS = 32


class _File:
    """A file descriptor that is closed when the last reader lets go of it."""

    def __init__(self, folder: Path) -> None:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            self.fd = os.dup(file.fileno())

    def __del__(self) -> None:
        os.close(self.fd)

    def append(self, pieces: list[bytes]) -> None:
        for at in range(0, len(pieces), _WRITTEN_AT_ONCE):
            some = pieces[at : at + _WRITTEN_AT_ONCE]
            written = os.writev(self.fd, some)
            if written < sum(map(len, some)):
                rest = b"".join(some)[written:]
                while rest:
                    rest = rest[os.write(self.fd, rest) :]

    def read(self, place: int) -> bytes:
        length = place & ((1 << _LENGTH_BITS) - 1)
        found = os.pread(self.fd, length, place >> _LENGTH_BITS)
        if len(found) < length:
            raise OSError(f"corruption: {len(found)} of {length} bytes where a loaded value stood")
        return found


class RecoveryBuffer:
    """Values by key.

    >>> buffer = RecoveryBuffer(Path(tempfile.gettempdir()), head=lambda value: value[:1])
    >>> buffer.add({b"ada": b"7 tasks", b"bob": b"8 tasks"})
    >>> buffer.add({b"ada": b"9 tasks", b"bob": None})
    >>> buffer.get(b"ada"), buffer.heads, list(buffer.values())
    (b'9 tasks', {b'ada': b'9'}, [(b'ada', b'9 tasks')])
    """

    def __init__(self, folder: Path, *, head: Head) -> None:
        self.heads: dict[bytes, bytes] = {}
        """Of every value here; to be read only."""
        self._head = head
        self._places: dict[bytes, int] = {}
        """Of the same keys: where a value begins, and its length."""
        self._file = _File(folder)
        self._end = 0

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def get(self, key: bytes) -> bytes:
        """Return the value of a key that is here."""
        return self._file.read(self._places[key])

    def add(self, values: Mapping[bytes, bytes | None]) -> None:
        """Put these, forget those that are None. Raises OSError, and is of no use after that."""
        heads, places, end, head = self.heads, self._places, self._end, self._head
        pieces: list[bytes] = []
        for key, value in values.items():
            if value is None:
                heads.pop(key, None)
                places.pop(key, None)
                continue
            heads[key] = head(value)
            places[key] = end << _LENGTH_BITS | len(value)
            end += len(value)
            pieces.append(value)
        self._file.append(pieces)
        self._end = end

    def forget(self, keys: Iterable[bytes]) -> None:
        """These are elsewhere now."""
        for key in keys:
            self.heads.pop(key, None)
            self._places.pop(key, None)

    def pop(self, most: int) -> dict[bytes, bytes]:
        """At most so many of the values, which are here no more."""
        taken = {}
        for _ in range(min(most, len(self._places))):
            key, place = self._places.popitem()
            del self.heads[key]
            taken[key] = self._file.read(place)
        return taken

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its value, as they stand now."""
        # What is written into the file stays there; the walk keeps it open.
        return _walk(list(self._places.items()), self._file)


def _walk(places: list[tuple[bytes, int]], file: _File) -> Iterator[tuple[bytes, bytes]]:
    for key, place in places:
        yield key, file.read(place)

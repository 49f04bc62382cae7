"""One file that goes from one whole state to the next: what is kept by key, and the words beside it, in one transaction.

It is for what one process alone holds and can make again from a log. A kill at any moment leaves the state of the last `commit`;
values that have left memory since wait in the same transaction. A file that does not fit is set aside, which is said in the log; it
is never repaired. Returning from `commit` promises the state to the next process, not to the next start of the machine.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

FORMAT = b"1"
CACHE_KIB = 4096
"""Pages in memory; changes beyond them go to the file before their commit, and count from it on."""
PRAGMAS = (
    # Held as long as it is open: no other process changes it meanwhile.
    "locking_mode=EXCLUSIVE",
    "journal_mode=WAL",
    "synchronous=NORMAL",
    # What is taken out of it leaves the file too.
    "secure_delete=ON",
    f"cache_size=-{CACHE_KIB}",
)
WORDS = "words"
AT_ONCE = 8
"""Such a part more than the most is in memory before what is beyond it leaves together."""


class ShelfFailed(Exception):
    """The disk is full, gone, held by another process, or damaged; one line. Whoever meets it has to end."""


class _Unfit(Exception):
    """Why the file is set aside."""


class Shelf:
    """The file. Use it from one thread."""

    def __init__(self, path: Path, *, identity: bytes) -> None:
        """Open it, empty where there is none that fits. `identity`: what its values are; with another one it does not fit."""
        self._path = path
        self._identity = FORMAT + b" " + identity
        self._damaged = path.with_name(path.name + ".damaged")
        self._drawers: list[Drawer[Any]] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._open()
        except _Unfit as unfit:
            self.set_aside(str(unfit))

    @property
    def state(self) -> bytes | None:
        """What was committed last; None before the first time."""
        return self.read(WORDS, "state")

    def drawer(self, name: str, *, most: int, pack: Callable[[T], bytes], unpack: Callable[[bytes], T]) -> Drawer[T]:
        """Return what is kept under this name; some more than `most` of its values, those used last, are in memory."""
        one = Drawer(self, name, most=most, pack=pack, unpack=unpack)
        self._drawers.append(one)
        self._begin(name)
        return one

    def commit(self, state: bytes) -> None:
        """Put all that was changed, and this, in the place of what was committed before."""
        for one in self._drawers:
            one.settle()
        self.write(WORDS, [("state", state)])
        self._run("COMMIT")
        self._run("BEGIN IMMEDIATE")

    def set_aside(self, why: str) -> None:
        """Begin with nothing; what was there stands beside it, until the next that is set aside."""
        log.warning("snapshot.set_aside path=%s why=%s", self._path, why)
        self.close()
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                self._path.with_name(self._path.name + end).replace(
                    self._path.with_name(f"{self._path.name}.set-aside{end}")
                )
        self._damaged.unlink(missing_ok=True)
        self._open()
        for one in self._drawers:
            one.forget()
            self._begin(one.name)

    def close(self) -> None:
        """What was not committed is lost."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def read(self, name: str, key: str) -> bytes | None:
        """For drawers."""
        found = self._run(f"SELECT value FROM {name} WHERE key = ?", key)  # noqa: S608 - our own name
        if not found:
            return None
        value: bytes = found[0][0]
        if zlib.crc32(value[4:]).to_bytes(4, "big") != value[:4]:
            self._fail(sqlite3.DatabaseError(f"a value of {name} is not what was written"))
        return value[4:]

    def write(self, name: str, values: Iterable[tuple[str, bytes]]) -> None:
        """For drawers."""
        whole = [(key, zlib.crc32(value).to_bytes(4, "big") + value) for key, value in values]
        try:
            self._db.executemany(f"INSERT OR REPLACE INTO {name} VALUES (?, ?)", whole)  # noqa: S608
        except sqlite3.Error as error:
            self._fail(error)

    def erase(self, name: str, key: str) -> None:
        """For drawers."""
        self._run(f"DELETE FROM {name} WHERE key = ?", key)  # noqa: S608

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None, timeout=0)
        if self._damaged.exists():
            raise _Unfit("it is damaged")
        try:
            for line in PRAGMAS:
                self._db.execute(f"PRAGMA {line}").fetchall()
            self._db.execute("BEGIN IMMEDIATE")
            self._begin(WORDS)
            identity = self.read(WORDS, "identity")
            self.write(WORDS, [("identity", self._identity)])
        except sqlite3.OperationalError as error:
            raise ShelfFailed(f"the snapshot {self._path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise _Unfit(str(error)) from error
        if identity not in {None, self._identity}:
            raise _Unfit("it is of other topics, settings or versions")

    def _begin(self, name: str) -> None:
        self._run(f"CREATE TABLE IF NOT EXISTS {name} (key TEXT PRIMARY KEY, value BLOB)")

    def _run(self, line: str, *values: str | bytes) -> list[Any]:
        try:
            return self._db.execute(line, values).fetchall()
        except sqlite3.Error as error:
            self._fail(error)

    def _fail(self, error: sqlite3.Error) -> NoReturn:
        if not isinstance(error, sqlite3.OperationalError):
            # Found again at every start, were it kept.
            self._damaged.touch()
        raise ShelfFailed(f"the snapshot {self._path}: {error}") from error


class Drawer(Generic[T]):
    """Values by key, the ones used last in memory; see tables.kept."""

    def __init__(
        self, shelf: Shelf, name: str, *, most: int, pack: Callable[[T], bytes], unpack: Callable[[bytes], T]
    ) -> None:
        """`unpack(pack(value))` has to be the value to the bit: which ones are in memory must change nothing."""
        self.name = name
        self._shelf = shelf
        self._most = most
        self._pack = pack
        self._unpack = unpack
        self._near: OrderedDict[str, T] = OrderedDict()
        self._changed: set[str] = set()

    def get(self, key: str) -> T | None:
        """Return the value of this key, None where there is none."""
        one = self._near.get(key)
        if one is not None:
            self._near.move_to_end(key)
            return one
        found = self._shelf.read(self.name, key)
        if found is None:
            return None
        one = self._near[key] = self._unpack(found)
        self._leave()
        return one

    def __setitem__(self, key: str, value: T) -> None:
        """Keep this value; one that was changed in place has to come back this way."""
        self._near[key] = value
        self._near.move_to_end(key)
        self._changed.add(key)
        self._leave()

    def pop(self, key: str, default: None = None) -> T | None:
        """Keep it no more, and return what it was."""
        one = self.get(key)
        if one is None:
            return default
        del self._near[key]
        self._changed.discard(key)
        self._shelf.erase(self.name, key)
        return one

    def settle(self) -> None:
        """Write what has changed; it counts with the next commit."""
        self._shelf.write(self.name, [(key, self._pack(self._near[key])) for key in self._changed])
        self._changed.clear()

    def forget(self) -> None:
        """What is in memory too."""
        self._near.clear()
        self._changed.clear()

    def _leave(self) -> None:
        if len(self._near) <= self._most + self._most // AT_ONCE:
            return
        left = [self._near.popitem(last=False) for _ in range(len(self._near) - self._most)]
        self._shelf.write(self.name, [(key, self._pack(value)) for key, value in left if key in self._changed])
        self._changed.difference_update(key for key, _ in left)

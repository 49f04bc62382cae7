"""Row snapshots on a disk: what the rows of a journal partition were at one place of it, a file each, and which of them stay.

A file is written beside its name and renamed into place once it is on the disk; its last bytes are a digest of all others. Rows stand in it
as they stand in their changelog, sealed as they are. Whoever reads one passes over who has left since. It never folds anything, and
says of none that it is right: who has folded the journal up to it does (`Snapshots.note_verified`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Self

from google.protobuf.message import DecodeError

from oo.v1 import snapshot_pb2
from streams.wire import payload
from tables.leavers import Leavers
from tables.row import fence_of

NEWEST = 3
"""So many of a partition stay, whatever else does."""
VERIFIED = 2
"""And so many that were verified: the journal is trimmed below the second of them."""

_MAGIC = b"oO rows 1\n"
_LENGTHS = struct.Struct(">II")
"""Of a key and its value; both 0 at the end, where the digest follows."""
_LENGTH = struct.Struct(">Q")
"""Of the front."""
_DIGEST_BYTES = 32
_FRONT_BYTES_MAX = 64 * 1024 * 1024
"""More than the totals of a partition have: only what is damaged asks for it."""
_READ_AT_ONCE = 1024 * 1024
_ENDING, _MARK, _UNFINISHED, _WANTED = ".rows", ".verified", ".part", "wanted"


class Damaged(Exception):
    """It is no whole snapshot; one line that names the file."""


@dataclass(frozen=True, slots=True, order=True)
class Snapshot:
    """One file."""

    partition: int
    offset: int
    """The last record of the journal that is in it."""
    made_ms: int
    path: Path
    verified: bool

    @property
    def size(self) -> int:
        return self.path.stat().st_size


class Writer:
    """A snapshot that is being written. It may be called from one thread after the other."""

    def __init__(self, path: Path, about: snapshot_pb2.Snapshot) -> None:
        self._path, self._unfinished = path, path.with_suffix(_UNFINISHED)
        self._digest = blake2b(digest_size=_DIGEST_BYTES)
        self._file = os.fdopen(os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        front = about.SerializeToString(deterministic=True)
        self._write(_MAGIC + _LENGTH.pack(len(front)) + front)

    def add(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Write these keys and values."""
        self._write(b"".join(_LENGTHS.pack(len(key), len(value)) + key + value for key, value in rows))

    def finish(self) -> None:
        """Put it into its place, whole and on the disk."""
        self._write(_LENGTHS.pack(0, 0))
        with self._file as file:
            file.write(self._digest.digest())
            file.flush()
            os.fsync(file.fileno())
        self._unfinished.rename(self._path)
        _sync(self._path.parent)

    def abandon(self) -> None:
        """Leave nothing of it that is not finished."""
        self._file.close()
        self._unfinished.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        self._digest.update(content)
        self._file.write(content)


class Snapshots:
    """Those of one journal, in a folder that its workers and operators share."""

    def __init__(self, folder: Path, *, prefix: str, journal_id: bytes) -> None:
        """`prefix`: of its topics; there is one journal under it, and before that may have been others."""
        self._root = folder / prefix
        self._folder = self._root / journal_id.hex()

    def all(self, partition: int | None = None) -> list[Snapshot]:
        """Those that are whole as far as their names say, by partition, the oldest first."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                if path.suffix == _ENDING:
                    # A stranger's file, or one that went meanwhile, is none.
                    with contextlib.suppress(ValueError, OSError):
                        found.append(_named(path))
        return sorted(one for one in found if partition is None or one.partition == partition)

    def begin(self, about: snapshot_pb2.Snapshot) -> Writer:
        """Begin to write one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = about.journal
        return Writer(self._folder / f"{place.partition:03}-{place.offset:020}-{about.made_ms:015}{_ENDING}", about)

    def note_verified(self, one: Snapshot) -> None:
        """Say that a fold of the journal gives what is in it."""
        mark = one.path.with_suffix(_MARK)
        unfinished = mark.with_suffix(f".{os.getpid()}{_UNFINISHED}")
        with unfinished.open("wb") as file:
            file.write(_ending_of(one.path))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(mark)
        _sync(mark.parent)

    def drop(self, some: Iterable[Snapshot]) -> None:
        """Delete these."""
        for one in some:
            one.path.unlink(missing_ok=True)
            one.path.with_suffix(_MARK).unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete those of journals that were there before under this prefix: they stand for nothing any more."""
        with contextlib.suppress(FileNotFoundError):
            for path in self._root.iterdir():
                if path.is_dir() and path != self._folder:
                    shutil.rmtree(path, ignore_errors=True)

    def sweep_unfinished(self, partition: int) -> None:
        """Delete what a former owner of the partition left half written."""
        for path in self._folder.glob(f"{partition:03}-*{_UNFINISHED}"):
            path.unlink(missing_ok=True)

    def want(self) -> int:
        """Ask the owners of all partitions for new ones; returns a time: made later, they are."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = self._root / _WANTED
        wanted.touch()
        return wanted.stat().st_mtime_ns // 1_000_000

    @property
    def wanted_ms(self) -> int:
        """When somebody last asked for new ones; 0 for never."""
        try:
            return (self._root / _WANTED).stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return 0


def to_drop(some: Sequence[Snapshot], *, low: int, spaced_ms: int) -> list[Snapshot]:
    """Which of one partition's, the oldest first, need not stay where its journal begins at `low`.

    There stay the newest, the newest that were verified, and of the verified ones before them one for each `spaced_ms`, so that the
    journal can be trimmed at any of these ages. One from before the journal's beginning stands for nothing: what followed is gone.

    >>> some = [Snapshot(0, at, at, Path(), verified=at < 8) for at in range(10)]
    >>> [one.offset for one in to_drop(some, low=2, spaced_ms=4)]
    [0, 2, 3, 4]
    """
    usable = [one for one in some if one.offset + 1 >= low]
    verified = [one for one in usable if one.verified]
    kept = {*usable[-NEWEST:], *verified[-VERIFIED:]}
    last_ms: int | None = None
    for one in verified:
        if last_ms is None or one.made_ms >= last_ms + spaced_ms:
            kept.add(one)
            last_ms = one.made_ms
    return [one for one in some if one not in kept]


def beginning(some: Sequence[Snapshot], *, low: int, newest: bool) -> Snapshot | None:
    """Which of one partition's, the oldest first, a fold begins with where the journal begins at `low`; None: with nothing.

    >>> some = [Snapshot(0, at, at, Path(), verified=at < 8) for at in range(10)]
    >>> [beginning(some, low=at, newest=False) for at in (0, 11)], beginning(some, low=4, newest=False).offset
    ([None, None], 3)
    >>> beginning(some, low=4, newest=True).offset, beginning(some[8:], low=9, newest=True)
    (7, None)
    """
    usable = [one for one in some if one.offset + 1 >= low]
    trusted = [one for one in usable if one.verified]
    if not trusted or (not newest and low == 0):
        return None
    return trusted[-1 if newest else 0]


class Reading:
    """A snapshot that is being read: `about`, then its rows, once."""

    def __init__(self, path: Path) -> None:
        """Raises Damaged, or OSError where it is gone."""
        self._path = path
        self._file: IO[bytes] = path.open("rb")
        try:
            if self._file.read(len(_MAGIC)) != _MAGIC:
                raise Damaged
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            self.about = snapshot_pb2.Snapshot.FromString(self._file.read(min(length, _FRONT_BYTES_MAX)))
        except (Damaged, DecodeError, struct.error):
            self._file.close()
            raise Damaged(f"{path} is no snapshot of this format, or damaged") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def check(self) -> None:
        """Read all of it; raises Damaged where it is not what was written."""
        begun, left, digest = (
            self._file.tell(),
            self._path.stat().st_size - _DIGEST_BYTES,
            blake2b(digest_size=_DIGEST_BYTES),
        )
        self._file.seek(0)
        while left > 0 and (some := self._file.read(min(left, _READ_AT_ONCE))):
            digest.update(some)
            left -= len(some)
        if self._file.read() != digest.digest():
            raise Damaged(f"{self._path} is damaged: its digest is another one")
        self._file.seek(begun)

    def rows(self, leavers: Leavers) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and framed rows, but for those of people who have left since. Raises Damaged before the first."""
        self.check()
        read = self._file.read
        while True:
            key_length, length = _LENGTHS.unpack(read(_LENGTHS.size))
            if not key_length:
                return
            key, value = read(key_length), read(length)
            if not leavers.passes(key, fence_of(payload(value)).offset):
                yield key, value


def _sync(folder: Path) -> None:
    """Return once what was renamed in it is so on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _named(path: Path) -> Snapshot:
    partition, offset, made_ms = map(int, path.stem.split("-"))
    try:
        verified = path.with_suffix(_MARK).read_bytes() == _ending_of(path)
    except FileNotFoundError:
        verified = False
    return Snapshot(partition, offset, made_ms, path, verified)


def _ending_of(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-_DIGEST_BYTES, os.SEEK_END)
        return file.read()

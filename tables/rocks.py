"""A store on disk: one RocksDB per partition, all of a process within one bound of memory.

Writes go through its write-ahead log without an fsync: they outlive the process, and what a machine's crash takes is in
the changelog. A disk that does not fit (of other topics, another format, too old, damaged) is thrown away, which is said
in the log; one that is full or held by another process ends the worker instead. It never repairs anything.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from weakref import WeakSet

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from streams.clock import clock_ms
from streams.units import DAY_MS
from tables.recovery_buffer import RecoveryBuffer
from tables.store import NOTHING, Head, StoreFailed

log = logging.getLogger(__name__)

FORMAT = b"1"
AGE_MAX_MS = DAY_MS
"""A disk left for longer is thrown away: a deletion may have left the changelog meanwhile. Kafka keeps one for
min.compaction.lag.ms and delete.retention.ms, a day each."""

MEMORY_BYTES = 64 * 1024 * 1024
"""Of all partitions of a process together: blocks that were read, indexes, filters, and what is not yet in a file."""
WRITE_BUFFERS_BYTES = 32 * 1024 * 1024
"""Of those, at most, for what is not yet in a file."""
FILES_OPEN_MAX = 64
"""Of one partition."""

STAGED_MAX = 250_000
"""Rows of one partition that are loaded before they are settled; beyond it each load settles as many as it brings. Keys
and heads of these stand in memory, some 350 bytes a row."""
MOVED_AT_CLOSE_MAX = 20_000
"""Some tenths of a second; with more than that a disk that is closed too early is rebuilt at its next start."""

_HEADS, _SIDE = "heads", "side"
_IDENTITY, _CHECKPOINT, _SAVED = b"\x00identity", b"\x00checkpoint", b"\x00saved_ms"


class Seen(NamedTuple):
    """What another process's disk has of one key."""

    value: bytes | None
    checkpoint: int
    """The changelog offset below which the disk has everything."""


@dataclass(slots=True)
class Rocks:
    """The disks of one process's partitions, under one folder."""

    folder: Path
    identity: bytes
    """What the values are: topics' ids, the layout of the values. Another one means another disk."""
    head: Head
    _cache: Cache = field(default_factory=lambda: Cache(MEMORY_BYTES))
    _buffers: WriteBufferManager | None = None

    def open(self, number: int) -> RocksStore:
        """Return the disk of this partition, empty where there is none that fits. Raises StoreFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return RocksStore(
            self.folder / str(number), identity=_identity(number, self.identity), head=self.head, options=self.options
        )

    def look(self, number: int, key: bytes) -> Seen | None:
        """What the disk of this partition has of a key, while whoever it belongs to goes on writing; nothing of it is changed.

        None where there is none that fits, or where its files changed hands meanwhile: that says nothing of the key.
        """
        path = self.folder / str(number)
        if not (path / "CURRENT").exists():
            return None
        families = {name: self.options() for name in (_HEADS, _SIDE)}
        try:
            # Not as a secondary: that of rocksdict 0.3.29 ends the process where there are column families.
            with Rdict(str(path), self.options(), column_families=families, access_type=AccessType.read_only()) as disk:
                side = disk.get_column_family(_SIDE)
                identity, saved, checkpoint = (side.get(name) for name in (_IDENTITY, _SAVED, _CHECKPOINT))
                value = disk.get(key)
                side.close()
        except Exception as error:  # noqa: BLE001 - its only kind
            log.info("disk.not_seen path=%s why=%s", path, error)
            return None
        if identity is None or checkpoint is None or _unfit(identity, saved, own=_identity(number, self.identity)):
            return None
        return Seen(value, int.from_bytes(checkpoint, "big"))

    def sweep(self) -> None:
        """Delete disks that are too old to be used again: partitions that went elsewhere."""
        for path in self.folder.glob("*"):
            newest_s = max((file.stat().st_mtime for file in path.glob("*")), default=0.0)
            if newest_s * 1000 < clock_ms() - AGE_MAX_MS:
                log.info("disk.swept path=%s", path)
                shutil.rmtree(path, ignore_errors=True)

    def options(self) -> Options:
        """RocksDB's settings."""
        if self._buffers is None:
            self._buffers = WriteBufferManager.new_write_buffer_manager_with_cache(
                WRITE_BUFFERS_BYTES, False, self._cache
            )
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        blocks = BlockBasedOptions()
        blocks.set_block_cache(self._cache)
        blocks.set_bloom_filter(10, False)
        blocks.set_cache_index_and_filter_blocks(True)
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        options.set_block_based_table_factory(blocks)
        options.set_write_buffer_manager(self._buffers)
        options.set_write_buffer_size(16 * 1024 * 1024)
        options.set_arena_block_size(64 * 1024)
        options.set_max_total_wal_size(64 * 1024 * 1024)
        options.set_max_open_files(FILES_OPEN_MAX)
        options.set_keep_log_file_num(1)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_max_background_jobs(2)
        # Rows of some kilobytes stand apart from their keys, where compaction passes them by; and as they are, since to
        # compress one (a quarter less) costs as much as to write it.
        options.set_enable_blob_files(True)
        options.set_min_blob_size(512)
        options.set_blob_compression_type(DBCompressionType.none())
        options.set_enable_blob_gc(True)
        options.set_blob_gc_force_threshold(0.5)
        return options


class RocksStore:
    """One partition's disk."""

    def __init__(self, path: Path, *, identity: bytes, head: Head, options: Callable[[], Options]) -> None:
        self._path = path
        self._damaged = path.with_suffix(".damaged")
        self._identity = identity
        self._head = head
        self._options = options
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True  # type: ignore[method-assign,assignment] # its stub takes it for a method
        self._buffer: RecoveryBuffer | None = None
        """What was loaded and is not settled; the disk gets its checkpoint when it is."""
        self._pending: int | None = None
        """The checkpoint that it gets then."""
        self._walks: WeakSet[Generator[tuple[bytes, bytes]]] = WeakSet()
        self._open()
        why = self._unfit()
        if why:
            log.warning("disk.thrown_away path=%s why=%s", path, why)
            self.reset()

    @property
    def checkpoint(self) -> int | None:
        if self._buffer is not None:
            return self._pending
        found = self.side(_CHECKPOINT)
        return None if found is None else int.from_bytes(found, "big")

    def get(self, key: bytes) -> bytes | None:
        try:
            if self._buffer is not None and key in self._buffer:
                return self._buffer.get(key)
            found: bytes | None = self._db.get(key)
        except Exception as error:  # noqa: BLE001 - its only kind
            self._fail(error)
        return found

    def heads(self, keys: Sequence[bytes]) -> list[bytes | None]:
        try:
            found: Any = self._heads.get(list(keys))
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        if self._buffer is not None:
            staged = self._buffer.heads
            return [staged.get(key, settled) for key, settled in zip(keys, found, strict=True)]
        return list(found)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        if self._buffer is None:
            return self._kept(self._heads.items())
        staged = self._buffer.heads.copy()
        return self._kept(_beside(staged, iter(staged.items()), self._heads.items()))

    def values(self) -> Iterator[tuple[bytes, bytes]]:
        if self._buffer is None:
            return self._kept(self._db.items())
        return self._kept(_beside(self._buffer.heads.copy(), self._buffer.values(), self._db.items()))

    def side(self, name: bytes) -> bytes | None:
        try:
            found: bytes | None = self._side.get(name)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        return found

    def write(
        self,
        values: Mapping[bytes, bytes | None],
        *,
        side: Mapping[bytes, bytes] = NOTHING,
        checkpoint: int | None = None,
    ) -> None:
        batch = self._batch(values)
        for name, value in side.items():
            batch.put(name, value, self._side_handle)
        if checkpoint is not None and self._buffer is not None:
            self._pending = checkpoint
        elif checkpoint is not None:
            self._note(batch, checkpoint)
        try:
            self._db.write(batch)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        if self._buffer is not None:
            self._buffer.forget(values)

    def load(self, values: Mapping[bytes, bytes | None]) -> None:
        try:
            if self._buffer is None:
                self._pending = self.checkpoint
                self._buffer = RecoveryBuffer(self._path, head=self._head)
                self._compact_by_itself(False)
            gone = {key: value for key, value in values.items() if value is None}
            if gone:
                self._db.write(self._batch(gone), self._unlogged)
            self._buffer.add(values)
            if len(self._buffer) > STAGED_MAX:
                self._move(self._buffer, len(values))
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def move_loaded(self, most: int) -> bool:
        buffer = self._buffer
        if buffer is None:
            return False
        try:
            self._move(buffer, most)
            if len(buffer):
                return True
            # All of it is in files before anything says that the disk is complete.
            self._db.flush()
            self._heads.flush()
            self._compact_by_itself(True)
            self._buffer = None
            batch = WriteBatch(raw_mode=True)
            if self._pending is not None:
                self._note(batch, self._pending)
            self._db.write(batch)
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        return False

    def count(self) -> int:
        return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    def reset(self) -> None:
        self.close()
        self._throw_away()
        self._open()

    def close(self) -> None:
        if self._buffer is not None and self._pending is not None and len(self._buffer) <= MOVED_AT_CLOSE_MAX:
            # A disk that is full is rebuilt at its next start.
            with contextlib.suppress(StoreFailed):
                self.move_loaded(MOVED_AT_CLOSE_MAX)
        self._buffer = self._pending = None
        # Each of them holds the lock, and so does an iterator that somebody left halfway.
        for walk in list(self._walks):
            walk.close()
        for family in (self._heads, self._side, self._db):
            try:
                family.close()
            except Exception as error:  # noqa: BLE001
                # It flushes, and a full disk takes nothing: what the write-ahead log has is there at the next start.
                log.warning("disk.not_flushed path=%s why=%s", self._path, error)
        del self._rows_handle, self._heads_handle, self._side_handle, self._heads, self._side, self._db

    def _batch(self, values: Mapping[bytes, bytes | None]) -> WriteBatch:
        batch, head, rows, heads = WriteBatch(raw_mode=True), self._head, self._rows_handle, self._heads_handle
        for key, value in values.items():
            if value is None:
                batch.delete(key, rows)
                batch.delete(key, heads)
            else:
                batch.put(key, value, rows)
                batch.put(key, head(value), heads)
        return batch

    def _note(self, batch: WriteBatch, checkpoint: int) -> None:
        batch.put(_CHECKPOINT, checkpoint.to_bytes(8, "big"), self._side_handle)
        batch.put(_SAVED, clock_ms().to_bytes(8, "big"), self._side_handle)
        batch.put(_IDENTITY, self._identity, self._side_handle)

    def _move(self, buffer: RecoveryBuffer, most: int) -> None:
        self._db.write(self._batch(buffer.pop(most)), self._unlogged)

    def _compact_by_itself(self, yes: bool) -> None:
        # Not while a new disk is filled: each row would be moved once more meanwhile.
        for family in (self._db, self._heads):
            family.set_options({"disable_auto_compactions": str(not yes).lower()})

    def _kept(self, items: Iterator[tuple[Any, Any]]) -> Iterator[tuple[bytes, bytes]]:
        walk = self._each(items)
        self._walks.add(walk)
        return walk

    def _each(self, items: Iterator[tuple[Any, Any]]) -> Generator[tuple[bytes, bytes]]:
        # The items stand as they were when their iterator was made, which is before this begins.
        try:
            yield from items
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _open(self) -> None:
        try:
            if self._damaged.exists():
                log.warning("disk.thrown_away path=%s why=damaged", self._path)
                self._throw_away()
            try:
                self._db = self._opened()
            except Exception as error:
                if _is_theirs(error):
                    raise
                log.warning("disk.thrown_away path=%s why=%s", self._path, error)
                self._throw_away()
                self._db = self._opened()
        except Exception as error:
            raise StoreFailed(f"the rows' disk {self._path} cannot be opened: {error}") from error
        self._heads = self._db.get_column_family(_HEADS)
        self._side = self._db.get_column_family(_SIDE)
        self._rows_handle = self._db.get_column_family_handle("default")
        self._heads_handle = self._db.get_column_family_handle(_HEADS)
        self._side_handle = self._db.get_column_family_handle(_SIDE)

    def _opened(self) -> Rdict:
        families = {name: self._options() for name in (_HEADS, _SIDE)}
        return Rdict(str(self._path), self._options(), column_families=families)

    def _unfit(self) -> str:
        """Why what is there cannot be used; empty where it can, or where nothing is there."""
        identity = self.side(_IDENTITY)
        if identity is None:
            return "it was never complete" if next(self.scan(), None) is not None else ""
        return _unfit(identity, self.side(_SAVED), own=self._identity)

    def _throw_away(self) -> None:
        if self._path.exists():
            shutil.rmtree(self._path)
        self._damaged.unlink(missing_ok=True)

    def _fail(self, error: Exception) -> NoReturn:
        if "orruption" in str(error):
            # Found again at every start, were it kept.
            self._damaged.touch()
        raise StoreFailed(f"the rows' disk {self._path}: {error}") from error


def _identity(number: int, identity: bytes) -> bytes:
    return FORMAT + b" %d %s" % (number, identity)


def _unfit(identity: bytes, saved: bytes | None, *, own: bytes) -> str:
    """Why a disk that was complete once cannot be used; empty where it can."""
    if identity != own:
        return "it is of other topics, or of another format"
    if saved is None or int.from_bytes(saved, "big") < clock_ms() - AGE_MAX_MS:
        return "it is older than a day"
    return ""


def _beside(
    keys: Mapping[bytes, bytes], staged: Iterator[tuple[bytes, bytes]], settled: Iterator[tuple[Any, Any]]
) -> Iterator[tuple[bytes, bytes]]:
    """Yield both; where a key stands in both, what was staged. `keys` are the staged ones."""
    return chain(staged, ((key, value) for key, value in settled if key not in keys))


def _is_theirs(error: Exception) -> bool:
    """Another process's lock, or a full disk: nothing that emptying ours would mend."""
    text = str(error).lower()
    return "lock" in text or "no space" in text

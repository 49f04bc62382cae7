"""Writes one file of a data set in each format, rows at a time, and reads it again. A file has its name only once it is whole and on the disk.

The same rows give the same bytes. What is in memory of a file is GROUP_ROWS rows and GROUP_BYTES of messages at the most, whatever its size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from fastavro.write import Writer as AvroWriter

from deploy.lake import schema
from deploy.lake.manifest import File, sync_folder
from deploy.lake.schema import Column, Row

GROUP_ROWS: Final = 2_000
GROUP_BYTES: Final = 1 << 20
"""Of messages: what a Parquet row group is made of, at the most."""


class _Format(Protocol):
    def write(self, rows: list[Row]) -> None:
        """Put these behind the others."""

    def end(self) -> None:
        """No more come."""


class _Parquet:
    def __init__(self, file: Any, columns: tuple[Column, ...], name: str) -> None:
        del name
        self._schema = schema.arrow(columns)
        places = [self._schema.get_field_index(one) for one in ("kafka_partition", "kafka_offset")]
        order = [pq.SortingColumn(one) for one in places]
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd", sorting_columns=order)

    def write(self, rows: list[Row]) -> None:
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def end(self) -> None:
        self._writer.close()


class _Avro:
    def __init__(self, file: Any, columns: tuple[Column, ...], name: str) -> None:
        # A marker of ours, so that the same rows give the same bytes; without a validator a row that raises leaves half of itself in the block.
        marker = hashlib.sha256(name.encode()).digest()[:16]
        parsed = fastavro.parse_schema(schema.avro(columns, name.split("/", 1)[0]))
        self._writer = AvroWriter(file, parsed, codec="deflate", sync_marker=marker, validator=True)

    def write(self, rows: list[Row]) -> None:
        for row in rows:
            self._writer.write(row)

    def end(self) -> None:
        self._writer.flush()


_WRITERS: Final[dict[str, Callable[[Any, tuple[Column, ...], str], _Format]]] = {"parquet": _Parquet, "avro": _Avro}


class Part:
    """A file that is being written, in all formats of its lake."""

    def __init__(
        self, root: Path, formats: Iterable[str], columns: tuple[Column, ...], *, dataset: str, day: str, name: str
    ) -> None:
        """`name` is where its rows begin: what it is called in the end is told to `finish`."""
        self._root, self._dataset, self._day = root, dataset, day
        self._rows, self._bytes, self.written = list[Row](), 0, 0
        self._first: list[int] = []
        self._open = {}
        for form in formats:
            path = root / form / dataset / f"day={day}" / f".{name}.part"
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb")
            self._open[form] = (path, file, _WRITERS[form](file, columns, f"{dataset}/{day}/{name}"))

    def add(self, row: Row, size: int) -> None:
        """Put one behind the others; `size`: its message's bytes."""
        self._rows.append(row)
        self._bytes += size
        self._first = self._first or [row["kafka_partition"], row["kafka_offset"]]
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    @property
    def holds_any(self) -> bool:
        """Whether it has a row."""
        return bool(self._rows or self.written)

    def _flush(self) -> None:
        for _, _, writer in self._open.values():
            writer.write(self._rows)
        self.written += len(self._rows)
        self._rows, self._bytes = [], 0

    def finish(self, name: str) -> File:
        """Give it this name, in place of one of that name, once all of it is on the disk."""
        if self._rows:
            self._flush()
        found = File(self._dataset, self._day, name, self.written, self._first, {}, {})
        for form, (path, file, writer) in self._open.items():
            writer.end()
            file.flush()
            os.fsync(file.fileno())
            file.close()
            found.bytes[form] = path.stat().st_size
            with path.open("rb") as whole:
                found.sha256[form] = hashlib.file_digest(whole, "sha256").hexdigest()
            path.replace(self._root / found.path(form))
            sync_folder(path.parent)
        self._open.clear()
        return found

    def abandon(self) -> None:
        """Take away what is there of it."""
        for path, file, writer in self._open.values():
            writer.end()  # Parquet's would end itself, later, in a file that is closed.
            file.close()
            path.unlink(missing_ok=True)
        self._open.clear()


def read(path: Path) -> Iterator[Row]:
    """The rows of a file, some at a time."""
    if path.suffix == ".avro":
        with path.open("rb") as file:
            yield from fastavro.reader(file)  # type: ignore[misc]  # rows of ours are records
        return
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group).to_pylist()


def holds(path: Path, is_out: Callable[[str, int], bool]) -> int:
    """How many rows of a file are of somebody of whom this is said, told the person and the journal's offset."""
    if path.suffix == ".avro":
        return sum(is_out(row["person"], row["journal_offset"]) for row in read(path))
    found = 0
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            some = file.read_row_group(group, columns=["person", "journal_offset"])
            found += sum(map(is_out, some["person"].to_pylist(), some["journal_offset"].to_pylist()))
    return found

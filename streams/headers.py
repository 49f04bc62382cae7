"""Reads records whose header names are not UTF-8, which aiokafka cannot: it raises, at the same record for ever.

Kafka does not look at a header's name, and C and Go clients write any bytes there. Never touches another batch: only the
one that aiokafka gave up is parsed again, in Python, its names with what is not UTF-8 written as \\xff.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH = slice(8, 12)
_OVERHEAD = 12
"""Of a batch: its first offset and its length."""
_MAGIC = 16


class Records:
    """A fetched partition's bytes as aiokafka reads them, batch by batch."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._records = MemoryRecords(data)
        self._at = 0

    def has_next(self) -> bool:
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        start = self._at
        self._at += _OVERHEAD + int.from_bytes(self._data[start:][_LENGTH], "big")
        if self._data[start + _MAGIC] < 2:
            return batch  # of a time before headers
        return _Batch(batch, self._data[start : self._at])


class _Batch:
    """One batch, and its bytes."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        """The record of a control batch, which tells whether a transaction was aborted."""
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                read += 1
                yield record
        except UnicodeDecodeError:
            yield from islice(_LenientBatch(self._data), read, None)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # final for them; pinned by us
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Buffer(self._buffer)


class _Buffer(bytearray):
    """Its pieces decode whatever they hold."""

    def __getitem__(self, at: Any) -> Any:
        piece = super().__getitem__(at)
        return _Piece(piece) if isinstance(at, slice) else piece


class _Piece(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)

"""Whole numbers in columns as bytes: each column in the shortest of four forms, so that it takes what varints would, or less.

A block is two varints, how many columns and how many entries in each, then the columns one after the other: a byte for the form, then
its numbers as zigzag varints, by themselves, as steps from the entry before, or as runs (how many, then what); a column of
hashes stands as it is, eight little-endian bytes an entry. The same numbers always give the same bytes. It knows no meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tables.compiled import Int, compiled
from tables.linear import Ints

Bytes = npt.NDArray[np.uint8]

_PLAIN, _STEPS, _RUNS, _WHOLE = 0, 1, 2, 3
_VARINT_MAX = 10
BYTES_FORM = "Bytes(u1, 1, 'C', readonly=True)"
"""Python's bytes, in a signature."""


ENTRIES_MAX = 1 << 16
"""In all columns of a block that is read: a run of any length takes a few bytes, and more than this is nobody's."""


def packed(columns: Ints) -> bytes:
    """The block of these columns, (C, N) of int64.

    >>> block = packed(np.array([[7, 7, 7], [1000, 1001, 1002]]))
    >>> block.hex(), unpacked(block, width=2).tolist()
    ('020302030e01d00f0202', [[7, 7, 7], [1000, 1001, 1002]])
    """
    return written(columns).tobytes()


def unpacked(block: bytes, *, width: int | None = None) -> Ints:
    """The columns of a block, (C, N), as many as it has where no width is given; of no bytes, columns without entries.

    Raises ValueError where it is no such block.
    """
    columns = read(block, width or 0)
    if columns.shape[0] != width and (width is not None or (block and not columns.shape[0])):
        raise ValueError("not a block of columns")
    return columns


def of(entries: Iterable[Sequence[int]], *, width: int) -> Ints:
    """The columns of these entries, of `width` numbers each: (width, N).

    >>> of([(1, 2), (3, 4)], width=2).tolist(), of([], width=2).shape
    ([[1, 3], [2, 4]], (2, 0))
    """
    return np.ascontiguousarray(np.array(list(entries), dtype=np.int64).reshape(-1, width).T)


def signed(key: int) -> int:
    """Return an unsigned number of 64 bits as columns hold it."""
    return key - (1 << 64) if key >= 1 << 63 else key


@compiled("i8[:, ::1](i8[:, ::1], i8)")
def without(columns: Ints, index: Int) -> Ints:
    """Return the columns without one entry of each."""
    width, n = columns.shape
    left = np.empty((width, n - 1), dtype=np.int64)
    left[:, :index], left[:, index:] = columns[:, :index], columns[:, index + 1 :]
    return left


@compiled("i8(u8)")
def _length(value: Int) -> Int:
    n = np.int64(1)
    if value >= np.uint64(1) << np.uint64(28):
        value >>= np.uint64(28)
        n += 4
    while value >= np.uint64(128):
        value >>= np.uint64(7)
        n += 1
    return n


@compiled("u8(i8)")
def _zigzag(value: Int) -> Int:
    return np.uint64((value << 1) ^ (value >> 63))


@compiled("i8(u8)")
def _unzigzag(value: Int) -> Int:
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))


@compiled("i8(u8, u1[::1], i8)")
def _write(value: Int, into: Bytes, at: Int) -> Int:
    while value >= np.uint64(128):
        into[at] = np.uint8(value & np.uint64(127)) | np.uint8(128)
        value >>= np.uint64(7)
        at += 1
    into[at] = np.uint8(value)
    return at + 1


@compiled(f"UniTuple(i8, 2)({BYTES_FORM}, i8)")
def _read(raw: bytes, at: Int) -> tuple[Int, Int]:
    """A varint, and where the next one begins; -1 for none."""
    if 0 <= at < len(raw) and raw[at] < 128:
        return np.int64(raw[at]), at + 1
    value, shift = np.uint64(0), np.uint64(0)
    while 0 <= at < len(raw) and shift < np.uint64(70):
        byte = np.uint64(raw[at])
        at += 1
        value |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            return np.int64(value), at
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@compiled("i8(i8[:, ::1], u1[::1])")
def pack(columns: Ints, into: Bytes) -> Int:
    """Writes the block of these columns, (C, N), and returns its length; `into` has room for it."""
    width, n = columns.shape
    at = _write(np.uint64(n), into, _write(np.uint64(width), into, np.int64(0)))
    for c in range(width):
        column = columns[c]
        one = np.int64(1)
        while one < n and column[one] == column[0]:
            one += 1
        if n and one == n:
            # The same throughout, as most columns are.
            first = _length(_zigzag(column[0]))
            plain, steps, runs = n * first, first + n - 1, _length(np.uint64(n)) + first
        else:
            plain = steps = runs = np.int64(0)
            run, before = np.int64(0), np.int64(0)
            for i in range(n):
                value = column[i]
                plain += _length(_zigzag(value))
                steps += _length(_zigzag(value - before))
                if i > 0 and value == before:
                    run += 1
                else:
                    if run > 0:
                        runs += _length(np.uint64(run)) + _length(_zigzag(before))
                    run = np.int64(1)
                before = value
            if run > 0:
                runs += _length(np.uint64(run)) + _length(_zigzag(before))
        form, least = _PLAIN, plain
        if steps < least:
            form, least = _STEPS, steps
        if runs < least:
            form, least = _RUNS, runs
        if 8 * n < least:
            form = _WHOLE
        into[at] = np.uint8(form)
        at += 1
        if form == _WHOLE:
            for i in range(n):
                value = column[i]
                for b in range(8):
                    into[at] = np.uint8((value >> (8 * b)) & 255)
                    at += 1
        elif form == _RUNS:
            entry = np.int64(0)
            while entry < n:
                run = np.int64(1)
                while entry + run < n and column[entry + run] == column[entry]:
                    run += 1
                at = _write(np.uint64(run), into, at)
                at = _write(_zigzag(column[entry]), into, at)
                entry += run
        else:
            before = np.int64(0)
            for i in range(n):
                value = column[i]
                at = _write(_zigzag(value - before), into, at)
                if form == _STEPS:
                    before = value
    return at


@compiled("u1[::1](i8[:, ::1])")
def written(columns: Ints) -> Bytes:
    """The block of these columns; what `packed` makes bytes of."""
    into = np.empty(2 * _VARINT_MAX + columns.shape[0] * (1 + _VARINT_MAX * columns.shape[1]), dtype=np.uint8)
    return into[: pack(columns, into)].copy()


@compiled(f"i8[:, ::1]({BYTES_FORM}, i8)")
def read(raw: bytes, expected: Int) -> Ints:
    """The columns of a block; of no bytes, so many as expected, without entries; none, (0, 0), where it is no block."""
    nothing = np.empty((0, 0), dtype=np.int64)
    if not len(raw):
        return np.empty((expected, 0), dtype=np.int64)
    width, at = _read(raw, np.int64(0))
    n, at = _read(raw, at)
    if at < 0 or width < 1 or n < 0 or width > ENTRIES_MAX or n > ENTRIES_MAX or width * n > ENTRIES_MAX:
        return nothing
    columns = np.empty((width, n), dtype=np.int64)
    for c in range(width):
        if at >= len(raw):
            return nothing
        column, form = columns[c], raw[at]
        at += 1
        if form == _WHOLE:
            if at + 8 * n > len(raw):
                return nothing
            for i in range(n):
                value = np.uint64(0)
                for b in range(8):
                    value |= np.uint64(raw[at]) << np.uint64(8 * b)
                    at += 1
                column[i] = np.int64(value)
        elif form == _RUNS:
            entry = np.int64(0)
            while entry < n:
                run, at = _read(raw, at)
                told, at = _read(raw, at)
                if at < 0 or run < 1 or run > n - entry:
                    return nothing
                told = _unzigzag(np.uint64(told))
                for _ in range(run):
                    column[entry] = told
                    entry += 1
        elif form in (_PLAIN, _STEPS):
            before = np.int64(0)
            for i in range(n):
                if at < len(raw) and raw[at] < 128:
                    told, at = np.int64(raw[at]), at + 1
                else:
                    told, at = _read(raw, at)
                    if at < 0:
                        return nothing
                told = _unzigzag(np.uint64(told)) + before
                column[i] = told
                if form == _STEPS:
                    before = told
        else:
            return nothing
    return columns if at == len(raw) else nothing

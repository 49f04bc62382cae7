"""Whole numbers in columns as bytes: each column in the shortest of four forms, so that it takes what varints would, or less.

A block is two varints, how many columns and how many entries in each, then the columns one after the other: a byte for the form, then
its numbers as zigzag varints, by themselves, as steps from the entry before, or as runs (how many, then what); a column of
hashes stands as it is, eight little-endian bytes an entry. The same numbers always give the same bytes. It knows no meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from tables.compiled import BYTES_FORM, Int, compiled
from tables.lanes import returned
from tables.linear import Ints

Bytes = npt.NDArray[np.uint8]

_PLAIN, _STEPS, _RUNS, _WHOLE = 0, 1, 2, 3
VARINT_MAX = 10
ENTRIES_MAX = 1 << 16
"""In all columns of a block that is read: a run of any length takes a few bytes, and more than this is nobody's."""


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


@compiled("i8[:, ::1](i8[:, ::1], i8, i8)")
def with_gap(columns: Ints, index: Int, begin: Int) -> Ints:
    """Return the columns from an entry on, with one entry more, of any numbers, before that of this index."""
    width, n = columns.shape
    wider = np.empty((width, n - begin + 1), dtype=np.int64)
    for c in range(width):
        for i in range(begin, index):
            wider[c, i - begin] = columns[c, i]
        for i in range(index, n):
            wider[c, i + 1 - begin] = columns[c, i]
    return wider


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


# Places in bytes are unsigned: of a signed one the compiler asks at each byte whether it counts from the end.


@compiled("u8(u8, u1[::1], u8)")
def varint(value: Int, into: Bytes, at: Int) -> Int:
    """Writes a number of no sign, and returns where the next one goes."""
    while value >= np.uint64(128):
        into[at] = np.uint8(value & np.uint64(127)) | np.uint8(128)
        value >>= np.uint64(7)
        at += np.uint64(1)
    into[at] = np.uint8(value)
    return at + np.uint64(1)


_NOWHERE = 1 << 62
"""Past the end of any bytes."""


@compiled(f"UniTuple(u8, 2)({BYTES_FORM}, u8)")
def _read(raw: bytes, at: Int) -> tuple[Int, Int]:
    """A varint, and where the next one begins; past the end for none."""
    size, value, shift = np.uint64(len(raw)), np.uint64(0), np.uint64(0)
    while at < size and shift < np.uint64(70):
        byte = np.uint64(raw[at])
        at += np.uint64(1)
        value |= (byte & np.uint64(127)) << shift
        if byte < np.uint64(128):
            return value, at
        shift += np.uint64(7)
    return np.uint64(0), np.uint64(_NOWHERE)


@compiled("u1[::1](i8[:, ::1])")
def written(columns: Ints) -> Bytes:
    """The block of these columns, (C, N), inside compiled loops: `returned` hands it out."""
    width, n = columns.shape
    into = np.empty(2 * VARINT_MAX + width * (1 + VARINT_MAX * n), dtype=np.uint8)
    at = varint(np.uint64(n), into, varint(np.uint64(width), into, np.uint64(0)))
    for c in range(width):
        column = columns[c]
        differs = np.int64(0)
        if n:
            # All of them, as a loop that may end early looks at one at a time.
            for i in range(n):
                differs |= column[i] ^ column[0]
        if n and not differs:
            # The same throughout, as most columns are.
            first = _length(_zigzag(column[0]))
            plain, steps, runs = n * first, first + n - 1, _length(np.uint64(n)) + first
        else:
            plain = steps = runs = size = np.int64(0)
            begin, before = np.int64(0), np.int64(0)
            for i in range(n):
                value = column[i]
                if i and value == before:
                    plain += size
                    steps += 1
                else:
                    if i:
                        runs += _length(np.uint64(i - begin)) + size
                    begin, size = np.int64(i), _length(_zigzag(value))
                    plain += size
                    steps += _length(_zigzag(value - before))
                    before = value
            if n:
                runs += _length(np.uint64(n - begin)) + size
        form, least = _PLAIN, plain
        if steps < least:
            form, least = _STEPS, steps
        if runs < least:
            form, least = _RUNS, runs
        if 8 * n < least:
            form = _WHOLE
        into[at] = np.uint8(form)
        at += np.uint64(1)
        if form == _WHOLE:
            for i in range(n):
                value = column[i]
                for _ in range(8):
                    into[at] = np.uint8(value & 255)
                    value >>= 8
                    at += np.uint64(1)
        elif form == _RUNS:
            entry = np.int64(0)
            while entry < n:
                run = np.int64(1)
                while entry + run < n and column[entry + run] == column[entry]:
                    run += 1
                at = varint(np.uint64(run), into, at)
                at = varint(_zigzag(column[entry]), into, at)
                entry += run
        elif form == _STEPS:
            before = np.int64(0)
            for i in range(n):
                value = column[i]
                at = varint(_zigzag(value - before), into, at)
                before = value
        else:
            for i in range(n):
                at = varint(_zigzag(column[i]), into, at)
    return into[:at]


@compiled("(i8[:, ::1],)")
def packed(columns: Ints) -> bytes:
    """The block of these columns, (C, N) of int64.

    >>> block = packed(np.array([[7, 7, 7], [1000, 1001, 1002]]))
    >>> block.hex(), unpacked(block, width=2).tolist()
    ('020302030e01d00f0202', [[7, 7, 7], [1000, 1001, 1002]])
    """
    return returned(written(columns))


@compiled(f"i8[:, ::1]({BYTES_FORM}, i8)")
def read(raw: bytes, expected: Int) -> Ints:
    """The columns of a block; of no bytes, so many as expected, without entries; none, (0, 0), where it is no block."""
    nothing = np.empty((0, 0), dtype=np.int64)
    size = np.uint64(len(raw))
    if not size:
        return np.empty((expected, 0), dtype=np.int64)
    wide, at = _read(raw, np.uint64(0))
    many, at = _read(raw, at)
    most = np.uint64(ENTRIES_MAX)
    if at > size or wide < np.uint64(1) or wide > most or many > most or wide * many > most:
        return nothing
    width, n = np.int64(wide), np.int64(many)
    columns = np.empty((width, n), dtype=np.int64)
    for c in range(width):
        if at >= size:
            return nothing
        column, form = columns[c], raw[at]
        at += np.uint64(1)
        if form == _WHOLE:
            if at + np.uint64(8) * many > size:
                return nothing
            for i in range(n):
                value = np.uint64(0)
                for b in range(8):
                    value |= np.uint64(raw[at]) << np.uint64(8 * b)
                    at += np.uint64(1)
                column[i] = np.int64(value)
        elif form == _RUNS:
            entry = np.int64(0)
            while entry < n:
                run, at = _read(raw, at)
                told, at = _read(raw, at)
                if at > size or run < np.uint64(1) or run > np.uint64(n - entry):
                    return nothing
                value = _unzigzag(told)
                for _ in range(np.int64(run)):
                    column[entry] = value
                    entry += 1
        elif form == _STEPS:
            before = np.int64(0)
            for i in range(n):
                told, at = _read(raw, at)
                if at > size:
                    return nothing
                before += _unzigzag(told)
                column[i] = before
        elif form == _PLAIN:
            for i in range(n):
                told, at = _read(raw, at)
                if at > size:
                    return nothing
                column[i] = _unzigzag(told)
        else:
            return nothing
    return columns if at == size else nothing

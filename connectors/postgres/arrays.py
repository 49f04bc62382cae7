"""A column of values as PostgreSQL takes an array in binary: in a few calls, where psycopg makes two of each value.

It knows the types that our tables have, and no nulls.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import psycopg
from psycopg import pq
from psycopg.adapt import Dumper

_OIDS: Final = {"boolean": 16, "bytea": 17, "bigint": 20, "integer": 23, "text": 25, "double precision": 701}
_NUMBERS: Final = {"boolean": "?", "bigint": ">i8", "integer": ">i4", "double precision": ">f8"}
_HEAD: Final = struct.Struct(">iiIii")
"""One dimension, no nulls, the values' type, how many there are, and that they are counted from 1."""
_SIZE: Final = struct.Struct(">i")


class Packed(bytes):
    """An array, as it is sent: the statement says by a cast what of."""


class _AsItIs(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


psycopg.adapters.register_dumper(Packed, _AsItIs)


class _Texts(dict[str, bytes]):
    """Each text that was met, as it is sent. A text has no NUL in PostgreSQL, which old journals may bring."""

    def __missing__(self, text: str) -> bytes:
        cell = self[text] = _cell(text.replace("\x00", "\\x00").encode())
        return cell


def packed(kind: str, column: Sequence[Any]) -> Packed:
    """An array of this type, of one value at least.

    >>> packed("integer", [7]).hex(" ", 4)
    '00000001 00000000 00000017 00000001 00000001 00000004 00000007'
    """
    if (number := _NUMBERS.get(kind)) is not None:
        values = np.array(column, dtype=number)
        cells = np.empty(len(column), dtype=[("size", ">i4"), ("value", number)])
        cells["size"], cells["value"] = values.itemsize, values
        raw = cells.tobytes()
    else:
        texts = _Texts()
        raw = b"".join([texts[one] for one in column] if kind == "text" else map(_cell, column))
    return Packed(_HEAD.pack(1, 0, _OIDS[kind], len(column), 1) + raw)


def _cell(raw: bytes) -> bytes:
    return _SIZE.pack(len(raw)) + raw

"""How rows stand in their table and its changelog, `oo.rows`: framed, fenced, keyed by user.

It never reads the journal, and parses no whole row.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from streams.record import Record
from streams.sealing import Keys, open_row, seal_row
from streams.wire import BadFrame, payload
from tables.row import FENCE_BYTES
from tables.store import MemoryStore
from tables.table import Table, merge

MARKS_KEY = b"\x00marks"
"""Key of the partition row; user ids hold no control characters."""

_FRONT_BYTES = 6 + FENCE_BYTES
_FENCE = struct.Struct("<xQxQ2x16s")
_FRONT = struct.Struct("<5x2sQB8x2s16s")
"""Of a row, which is the first message of its file: the end of its frame's header, and its fence."""


def head(value: bytes) -> bytes:
    """The fence of a framed row: what two rows are compared by. Raises ValueError where there is none.

    >>> head(bytes(6) + b"\\x09" + bytes(8) + b"\\x11" + bytes(8) + b"\\x1a\\x10" + bytes(16) + b"the rest").hex()[:20]
    '09000000000000000011'
    """
    # The first message of its file, as rows are, has a header of six bytes.
    if len(value) >= _FRONT_BYTES and not value[5]:
        found = value[6:_FRONT_BYTES]
    else:
        try:
            found = payload(value)[:FENCE_BYTES]
        except BadFrame as bad:
            raise ValueError(f"not a row: {bad.detail}") from bad
    if len(found) < FENCE_BYTES or found[0] != 0x09 or found[9] != 0x11 or found[18:20] != b"\x1a\x10":
        raise ValueError("not a row: its fence is missing")
    return found


def order_in(journal_id: bytes) -> Callable[[bytes], int]:
    """Which of two rows stands: the one of this journal, then the one of the greater offset; read from their heads.

    >>> order = order_in(bytes(16))
    >>> this = b"\\x09" + bytes([7]) + bytes(7) + b"\\x11" + bytes(8) + b"\\x1a\\x10" + bytes(16)
    >>> order(this), order(this[:-1] + b"\\x01") < 0
    (7, True)
    """

    def order(head: bytes) -> int:
        offset = int.from_bytes(head[1:9], "little")
        return offset if head.endswith(journal_id) else offset - (1 << 63)

    return order


def orders_in(journal_id: bytes) -> Callable[[Sequence[bytes | None]], list[int | None]]:
    """The same of many framed rows at once; None for what is no row, and where there is none.

    >>> row = bytes(6) + b"\\x09" + bytes([7]) + bytes(7) + b"\\x11" + bytes(8) + b"\\x1a\\x10" + bytes(16) + b"the rest"
    >>> orders_in(bytes(16))([row, None, b"no row"])
    [7, None, None]
    """
    order, read = order_in(journal_id), _FRONT.unpack_from

    def orders(values: Sequence[bytes | None]) -> list[int | None]:
        found: list[int | None] = []
        for value in values:
            if value is None or len(value) < _FRONT_BYTES:
                found.append(None)
                continue
            tags, offset, more, last, topic_id = read(value)
            if tags == b"\0\x09" and more == 0x11 and last == b"\x1a\x10":
                found.append(offset if topic_id == journal_id else offset - (1 << 63))
                continue
            try:
                found.append(order(head(value)))
            except ValueError:
                found.append(None)
        return found

    return orders


def wake_of(head: bytes) -> int:
    """The row's next wake, 0 for never; read from its head."""
    return int.from_bytes(head[10:18], "little")


def orders_and_wakes(heads: Sequence[bytes], *, journal_id: bytes) -> list[tuple[int, int]]:
    """What `order_in` and `wake_of` read from each of these heads.

    >>> heads = [b"\\x09" + bytes([7]) + bytes(7) + b"\\x11" + bytes([5]) + bytes(7) + b"\\x1a\\x10" + topic * 16 for topic in (b"I", b"J")]
    >>> orders_and_wakes(heads, journal_id=b"J" * 16)
    [(-9223372036854775801, 5), (7, 5)]
    """
    return [
        (offset if topic_id == journal_id else offset - (1 << 63), wake_ms)
        for offset, wake_ms, topic_id in _FENCE.iter_unpack(b"".join(heads))
    ]


class TableRows:
    """A table's rows as `agents.fold` wants them: messages by user, without their frames and seals."""

    def __init__(self, table: Table, *, header: bytes, keys: Keys) -> None:
        """`header` goes before each row's message."""
        self._table = table
        self._header = header
        self._keys = keys
        self._settling: dict[str, bytes] = {}

    def get(self, user_id: str) -> bytes | None:
        """The person's serialized row. Raises KeyMissing."""
        settling = self._settling.get(user_id)
        if settling is not None:
            return settling
        whose = user_id.encode()
        value = self._table.get(whose)
        return None if value is None else open_row(payload(value), whose=whose, keys=self._keys)

    def update(self, rows: Mapping[str, bytes]) -> None:
        """These are the rows from here on; their changelog and their disk have them later."""
        self._settling.update(rows)

    def framed(self, user_id: str, message: bytes, *, is_open: bool = False) -> tuple[bytes, bytes]:
        """Key and value of a row, as they stand in the changelog and on the disk. `is_open`: not sealed."""
        whose = user_id.encode()
        return whose, self._header + (message if is_open else seal_row(message, whose=whose, keys=self._keys))

    def settle(self, values: Mapping[bytes, bytes]) -> None:
        """Put these, which were updated, into the table, which has still to commit them: the changelog has them."""
        for key, value in values.items():
            self._table.put(key, value)
        self._settling.clear()


async def read_rows(changelog: AsyncIterator[list[Record]], *, journal_id: bytes) -> dict[str, bytes]:
    """The rows that a whole changelog holds, sealed as they are, as a worker with an empty disk finds them: for verify and `oo state`."""
    store = MemoryStore(head=head)
    pairs = ([(record.key, record.value) for record in records] async for records in changelog)
    await merge(pairs, store, head=head, order=order_in(journal_id), orders=orders_in(journal_id))
    return {key.decode(): payload(value) for key, value in store.values() if key != MARKS_KEY}

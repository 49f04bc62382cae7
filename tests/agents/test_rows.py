"""Rows in their table: what orders two of them, and what a whole changelog holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sealed import sealing_in

from agents.rows import MARKS_KEY, TableRows, head, order_in, orders_in, read_rows
from oo.v1 import row_pb2
from streams.frames import Frames
from streams.record import Record
from tables.row import fence_of
from tables.store import MemoryStore
from tables.table import Table

NOW = b"J" * 16
BEFORE = b"I" * 16
SCHEMAS = Frames()


def row(offset: int, *, topic_id: bytes = NOW, user: str = "ada", wake_ms: int = 5) -> bytes:
    return SCHEMAS.frame(
        "rows", row_pb2.UserRow(journal_offset=offset, next_wake_ms=wake_ms, topic_id=topic_id, user_id=user)
    )


def marked(offset: int, *, topic_id: bytes = NOW) -> bytes:
    return SCHEMAS.frame(
        "rows",
        row_pb2.PartitionRow(
            journal_offset=offset, next_wake_ms=0, topic_id=topic_id, marks=[row_pb2.AppliedMark(offset=offset)]
        ),
    )


def order(value: bytes) -> int:
    return order_in(NOW)(head(value))


def read(*written: tuple[bytes, bytes | None]) -> dict[str, int]:
    """Journal offset of each person's row in a changelog of these."""

    async def changelog() -> AsyncIterator[list[Record]]:
        yield [Record("oo.rows", 0, n, 0, key, value) for n, (key, value) in enumerate(written)]

    rows = asyncio.run(read_rows(changelog(), journal_id=NOW))
    return {user: row_pb2.UserRow.FromString(message).journal_offset for user, message in rows.items()}


def test_the_greater_offset_stands() -> None:
    assert order(row(9)) > order(row(5))
    assert order(row(9)) == order(row(9, wake_ms=77))


def test_a_row_of_this_journal_stands_over_one_of_another_whatever_their_offsets() -> None:
    assert order(row(0)) > order(row(1 << 40, topic_id=BEFORE))
    assert order(row(9, topic_id=BEFORE)) > order(row(5, topic_id=BEFORE))


def test_marks_are_ordered_as_rows_are() -> None:
    assert order(marked(8)) > order(marked(4)) > order(marked(1000, topic_id=BEFORE))


def test_the_head_says_what_the_timer_asks_for() -> None:
    assert fence_of(head(row(9, wake_ms=77))).next_wake_ms == 77


@pytest.mark.parametrize("value", [b"", b"\x00\x00\x00\x00\x01", b"\x00\x00\x00\x00\x01\x00", row(9)[:40], b"x" * 99])
def test_what_has_no_fence_is_no_row(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a row"):
        head(value)


def test_of_many_values_each_has_the_order_that_it_has_alone() -> None:
    otherwise = SCHEMAS.header("rows", row_pb2.UserRow)[:5] + b"\x80\0" + row(6)[6:]  # The same header, written longer.
    torn = [row(9)[:6] + row(9)[7:], row(9)[:15] + b"\0" + row(9)[16:], row(9)[:24] + b"\0" + row(9)[25:], row(9)[:41]]
    there = [row(5), row(1 << 40, topic_id=BEFORE), marked(8), otherwise, row(7, wake_ms=0)]
    assert orders_in(NOW)([*there, None, b"", *torn]) == [*map(order, there), None, None, *[None] * len(torn)]


def test_a_whole_changelog_is_read_as_a_worker_with_an_empty_disk_reads_it() -> None:
    assert read((b"ada", row(9)), (b"bob", row(3, user="bob")), (b"ada", row(5))) == {"ada": 9, "bob": 3}
    assert read((b"ada", row(9)), (b"ada", None)) == {}
    assert read((b"ada", row(3)), (b"ada", row(1000, topic_id=BEFORE))) == {"ada": 3}
    assert read((b"ada", row(1000, topic_id=BEFORE))) == {"ada": 1000}


def test_the_marks_are_nobodys_row() -> None:
    assert read((MARKS_KEY, marked(4)), (b"ada", row(9))) == {"ada": 9}


@pytest.fixture
def rows(tmp_path: Path) -> tuple[Table, TableRows]:
    table = Table(MemoryStore(head=head), head=head, order=order_in(NOW), produce=lambda *_: asyncio.Future())
    keys = sealing_in(tmp_path, "ada").keys
    return table, TableRows(table, header=SCHEMAS.header("rows", row_pb2.UserRow), keys=keys)


def test_rows_go_into_the_table_framed_and_sealed_and_come_out_as_they_were(rows: tuple[Table, TableRows]) -> None:
    table, people = rows
    message = row_pb2.UserRow.FromString(row(9)[6:]).SerializeToString()
    people.update({"ada": message})
    people.settle(dict([people.framed("ada", message)]))
    stands = table.get(b"ada") or b""
    assert head(stands) == head(row(9))
    assert {field.name for field, _ in row_pb2.UserRow.FromString(stands[6:]).ListFields()} == {
        "journal_offset", "next_wake_ms", "topic_id", "sealed",
    }  # fmt: skip
    assert (people.get("ada"), people.get("bob")) == (message, None)


def test_a_row_of_before_comes_out_as_it_stands(rows: tuple[Table, TableRows]) -> None:
    table, people = rows
    table.put(b"bob", row(9, user="bob"))
    assert people.get("bob") == row(9, user="bob")[6:]


def test_the_fold_goes_on_from_rows_that_are_on_their_way_and_the_table_has_them_later(
    rows: tuple[Table, TableRows],
) -> None:
    table, people = rows
    people.update({"ada": row(9)[6:]})
    assert people.get("ada") == row(9)[6:]
    # What else is written meanwhile takes none of them along.
    table.commit()
    assert (table.get(b"ada"), table.store.get(b"ada")) == (None, None)
    values = dict([people.framed("ada", row(9)[6:])])
    people.settle(values)
    table.commit()
    assert table.store.get(b"ada") == values[b"ada"]

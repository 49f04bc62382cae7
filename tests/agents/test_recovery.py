"""Rows read back from their changelog: the greatest stands, however late a smaller one was written."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

from agents.recovery import MARKS_KEY, Recovered, recover
from oo.v1 import journal_pb2, row_pb2
from streams.record import Record

NOW = b"J" * 16
BEFORE = b"I" * 16


def framed(message: row_pb2.UserRow | row_pb2.PartitionRow) -> bytes:
    """Confluent framing under schema id 7: magic, id, message index, bytes."""
    return b"\x00" + struct.pack(">I", 7) + b"\x00" + message.SerializeToString(deterministic=True)


def row(offset: int, *, topic_id: bytes = NOW, user: str = "ada", wake_ms: int = 5, zone: str = "") -> bytes:
    return framed(
        row_pb2.UserRow(journal_offset=offset, next_wake_ms=wake_ms, topic_id=topic_id, user_id=user, time_zone=zone)
    )


def marked(offset: int, *versions: str, topic_id: bytes = NOW) -> bytes:
    return framed(
        row_pb2.PartitionRow(
            journal_offset=offset,
            next_wake_ms=0,
            topic_id=topic_id,
            marks=[
                row_pb2.AppliedMark(offset=offset, mark=journal_pb2.Mark(sequence=n, version_id=version))
                for n, version in enumerate(versions, start=1)
            ],
        )
    )


def recovered(*written: tuple[bytes, bytes | None]) -> Recovered:
    """What a changelog of these (key, value) gives, two records to a batch."""

    async def changelog() -> AsyncIterator[list[Record]]:
        records = [
            Record(topic="oo.rows", partition=0, offset=n, timestamp_ms=0, key=key, value=value, headers=())
            for n, (key, value) in enumerate(written)
        ]
        for start in range(0, len(records), 2):
            yield records[start : start + 2]

    return asyncio.run(recover(changelog(), topic_id=NOW))


def offset_of(found: Recovered, user: str = "ada") -> int:
    return row_pb2.UserRow.FromString(found.rows[user]).journal_offset


def test_the_greatest_row_stands() -> None:
    found = recovered((b"ada", row(5)), (b"ada", row(9)))
    assert offset_of(found) == 9
    assert found.put_again == []


def test_an_older_row_written_after_a_newer_one_gives_way_and_the_newer_is_put_again() -> None:
    found = recovered((b"ada", row(9)), (b"ada", row(5)))
    assert offset_of(found) == 9
    assert found.put_again == [(b"ada", row(9))]


def test_each_person_is_judged_alone() -> None:
    found = recovered((b"ada", row(9)), (b"bob", row(3, user="bob")), (b"ada", row(5)), (b"bob", row(4, user="bob")))
    assert (offset_of(found), offset_of(found, "bob")) == (9, 4)
    assert [key for key, _ in found.put_again] == [b"ada"]


def test_a_deleted_row_is_gone() -> None:
    found = recovered((b"ada", row(9)), (b"ada", None))
    assert found.rows == {}
    assert found.put_again == []


def test_a_row_written_after_a_deletion_stands() -> None:
    assert offset_of(recovered((b"ada", row(9)), (b"ada", None), (b"ada", row(10)))) == 10


def test_a_row_of_this_journal_stands_over_one_of_another_whatever_their_offsets() -> None:
    found = recovered((b"ada", row(3)), (b"ada", row(1000, topic_id=BEFORE)))
    assert offset_of(found) == 3
    assert found.put_again == [(b"ada", row(3))]


def test_a_row_of_another_journal_is_kept_where_this_one_has_none_yet() -> None:
    found = recovered((b"ada", row(1000, topic_id=BEFORE)))
    assert offset_of(found) == 1000


def test_offsets_of_another_journal_hold_no_sums_back() -> None:
    assert recovered((b"ada", row(1000, topic_id=BEFORE)), (b"bob", row(4, user="bob"))).offset == 4


def test_the_greatest_offset_is_known() -> None:
    assert recovered((b"ada", row(9)), (b"bob", row(12, user="bob")), (b"ada", row(10))).offset == 12
    assert recovered().offset == -1


def test_next_wakes_come_without_parsing_whole_rows() -> None:
    assert recovered((b"ada", row(9, wake_ms=77))).fences["ada"].next_wake_ms == 77


def test_the_marks_are_nobodys_row() -> None:
    found = recovered((MARKS_KEY, marked(4, "a")), (b"ada", row(9)))
    assert list(found.rows) == ["ada"]
    assert found.marks.marks[0].mark.version_id == "a"


def test_older_marks_written_after_newer_ones_give_way() -> None:
    found = recovered((MARKS_KEY, marked(8, "a", "b")), (MARKS_KEY, marked(4, "a")))
    assert [a.mark.version_id for a in found.marks.marks] == ["a", "b"]
    assert found.put_again == [(MARKS_KEY, marked(8, "a", "b"))]


def test_marks_of_another_journal_say_nothing_about_this_ones_offsets() -> None:
    assert not recovered((MARKS_KEY, marked(1000, "a", topic_id=BEFORE))).marks.marks

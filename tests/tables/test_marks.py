"""From which offset on a partition decides with which version, also when it reads that stretch again.

offset   0    5    10   15   20
mark          a         b
version  ·    a    a    b    b
"""

from __future__ import annotations

from itertools import permutations

from oo.v1 import journal_pb2, row_pb2
from tables import marks


def mark(sequence: int, version_id: str) -> journal_pb2.Mark:
    return journal_pb2.Mark(sequence=sequence, version_id=version_id)


def applied(*told: tuple[int, int, str], committed: int = 0) -> row_pb2.PartitionRow:
    """Marks as (offset, sequence, version)."""
    row = row_pb2.PartitionRow()
    for offset, sequence, version_id in told:
        row = marks.apply(row, mark(sequence, version_id), offset=offset, committed=committed)
    return row


def active(row: row_pb2.PartitionRow, *offsets: int) -> list[str]:
    return [marks.version_at(row, offset=offset) for offset in offsets]


def test_before_the_first_mark_the_prior_is_in_force() -> None:
    assert active(row_pb2.PartitionRow(), 0, 100) == ["", ""]


def test_a_version_is_in_force_from_its_mark_on() -> None:
    assert active(applied((5, 1, "a"), (15, 2, "b")), 4, 5, 6, 14, 15, 16) == ["", "a", "a", "a", "b", "b"]


def test_a_mark_read_again_changes_nothing() -> None:
    row = applied((5, 1, "a"), (15, 2, "b"))
    assert marks.apply(row, mark(1, "a"), offset=5, committed=0) is row
    assert marks.apply(row, mark(2, "b"), offset=15, committed=0) is row


def test_a_mark_sent_again_at_a_later_offset_changes_nothing() -> None:
    row = applied((5, 1, "a"))
    assert marks.apply(row, mark(1, "a"), offset=9, committed=0) is row


def test_a_mark_of_a_lower_sequence_is_ignored() -> None:
    row = applied((5, 2, "b"))
    assert marks.apply(row, mark(1, "a"), offset=9, committed=0) is row


def test_records_below_a_mark_keep_their_version_when_they_are_read_again() -> None:
    row = applied((5, 1, "a"), (15, 2, "b"))
    for offset in range(21):
        assert active(row, offset) == ["" if offset < 5 else "a" if offset < 15 else "b"]


def test_marks_below_the_committed_offset_go_all_but_the_one_in_force_there() -> None:
    row = applied((5, 1, "a"), (10, 2, "b"), (20, 3, "c"), committed=0)
    row = marks.apply(row, mark(4, "d"), offset=30, committed=12)
    assert [a.mark.version_id for a in row.marks] == ["b", "c", "d"]
    assert active(row, 12, 19, 20, 30) == ["b", "b", "c", "d"]


def test_a_mark_at_the_committed_offset_makes_those_before_it_needless() -> None:
    row = applied((5, 1, "a"), (10, 2, "b"))
    row = marks.apply(row, mark(3, "c"), offset=30, committed=10)
    assert [a.mark.version_id for a in row.marks] == ["b", "c"]


def test_nothing_is_pruned_while_everything_may_come_again() -> None:
    assert len(applied((5, 1, "a"), (10, 2, "b"), (20, 3, "c")).marks) == 3


def test_the_row_that_was_given_is_not_changed() -> None:
    row = applied((5, 1, "a"))
    before = row.SerializeToString(deterministic=True)
    marks.apply(row, mark(2, "b"), offset=9, committed=9)
    assert row.SerializeToString(deterministic=True) == before


def test_reading_a_stretch_again_in_order_ends_where_it_ended_before() -> None:
    told = [(5, 1, "a"), (7, 3, "c"), (8, 2, "b"), (15, 4, "d")]
    once = applied(*told)
    for start in range(len(told)):
        again = once
        for offset, sequence, version_id in told[start:]:
            again = marks.apply(again, mark(sequence, version_id), offset=offset, committed=0)
        assert again == once


def test_no_order_of_sequences_makes_a_version_go_back() -> None:
    for order in permutations((1, 2, 3)):
        row = applied(*((10 * n, sequence, str(sequence)) for n, sequence in enumerate(order, start=1)))
        versions = [int(v) for v in active(row, 10, 20, 30)]
        assert versions == sorted(versions)

"""Which rows of the changelog the owner answers with its own: those below it that come after it."""

from __future__ import annotations

from agents.guard import Guard
from oo.v1 import row_pb2
from streams.frames import Schemas
from streams.reader import Follower
from streams.record import Record

JOURNAL, OTHER = bytes(16), b"o" * 16
OWN = 70
"""Journal offset of the owner's row."""


class Owner:
    """A guard whose owner has one row, of ada; `again` is what it was told to write."""

    def __init__(self) -> None:
        self.again: list[tuple[int, bytes]] = []
        # Never run: nothing here reads Kafka.
        self.follower = Follower("nowhere:1", "oo.rows")
        self.guard = Guard(
            self.follower,
            journal_id=JOURNAL,
            fence_at=lambda _, key: OWN if key == b"ada" else None,
            write=lambda number, key: self.again.append((number, key)),
        )
        self.guard.add(3, start=100)


def row(offset: int, *, journal_offset: int, journal: bytes = JOURNAL, key: bytes = b"ada") -> Record:
    message = row_pb2.UserRow(journal_offset=journal_offset, next_wake_ms=0, topic_id=journal)
    return Record("oo.rows", 3, offset, 0, key, Schemas.offline().frame("rows", message))


def test_a_row_below_the_owners_is_answered() -> None:
    owner = Owner()
    owner.guard.check(row(120, journal_offset=OWN - 1))
    assert owner.again == [(3, b"ada")]


def test_the_owners_own_row_is_not() -> None:
    owner = Owner()
    owner.guard.check(row(120, journal_offset=OWN))
    assert owner.again == []


def test_a_row_of_another_journal_is_answered() -> None:
    owner = Owner()
    owner.guard.check(row(120, journal_offset=OWN + 5, journal=OTHER))
    assert owner.again == [(3, b"ada")]


def test_the_owners_own_earlier_row_that_a_later_one_of_its_own_follows_is_not() -> None:
    owner = Owner()
    owner.guard.wrote(3, b"ada", offset=125)
    owner.guard.check(row(120, journal_offset=OWN - 1))
    owner.guard.check(row(125, journal_offset=OWN))
    assert owner.again == []


def test_a_row_behind_the_owners_last_write_is_answered() -> None:
    owner = Owner()
    owner.guard.wrote(3, b"ada", offset=125)
    owner.guard.check(row(125, journal_offset=OWN))
    owner.guard.check(row(126, journal_offset=OWN - 1))
    assert owner.again == [(3, b"ada")]


def test_a_row_of_somebody_whom_the_owner_does_not_know_is_left_alone() -> None:
    owner = Owner()
    owner.guard.check(row(120, journal_offset=1, key=b"bob"))
    assert owner.again == []


def test_what_was_written_before_the_follower_came_past_is_not_remembered_for_ever() -> None:
    owner = Owner()
    owner.guard.wrote(3, b"ada", offset=99)
    assert not owner.guard._ours
    owner.guard.wrote(3, b"ada", offset=101)
    owner.guard.check(row(101, journal_offset=OWN))
    assert not owner.guard._ours

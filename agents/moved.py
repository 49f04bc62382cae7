"""A person who was moved to a new journal with their pseudonym (deploy/moving.py), as `step` takes it: the row of then, at a new place.

It changes nothing in what they have or have taught, and makes no decision.
"""

from __future__ import annotations

from typing import TypeVar

from agents import erasure
from oo.v1 import decision_pb2, erased_pb2, journal_pb2, row_pb2, settings_pb2

T = TypeVar("T", decision_pb2.Tip, settings_pb2.Settings)


def row_of(moved: journal_pb2.Moved, *, user_id: str, journal: journal_pb2.Position) -> row_pb2.UserRow:
    """The row from this record on. Who left is still gone, from here on."""
    row = row_pb2.UserRow.FromString(moved.row)
    row.user_id, row.topic_id, row.journal_offset = user_id, journal.topic_id, journal.offset
    if row.HasField("left"):
        row.left.offset = journal.offset
    return row


def said(row: row_pb2.UserRow, *, journal: journal_pb2.Position) -> erased_pb2.Erased | None:
    """The word of their leaving, for the new `oo.erasures`; None for who never left."""
    if not row.HasField("left"):
        return None
    return erasure.said(row, partition=journal.partition, began_again=journal if row.left.began_again else None)


def tip_of(moved: journal_pb2.Moved, row: row_pb2.UserRow, *, journal: journal_pb2.Position) -> decision_pb2.Tip | None:
    """The tip that stood, at its new place; of who left, the empty one."""
    if erasure.is_stub(row):
        return erasure.tip(row, journal=journal)
    if not moved.tip:
        return None
    return _placed(decision_pb2.Tip.FromString(moved.tip), row, journal)


def settings_of(
    moved: journal_pb2.Moved, row: row_pb2.UserRow, *, journal: journal_pb2.Position
) -> settings_pb2.Settings | None:
    """The settings that stood, likewise."""
    if erasure.is_stub(row):
        return settings_pb2.Settings(user_id=row.user_id, journal=journal, told_ms=row.left.erased_ms)
    if not moved.settings:
        return None
    return _placed(settings_pb2.Settings.FromString(moved.settings), row, journal)


def _placed(told: T, row: row_pb2.UserRow, journal: journal_pb2.Position) -> T:
    """Under the new name, at the new place."""
    told.user_id = row.user_id
    told.journal.CopyFrom(journal)
    return told

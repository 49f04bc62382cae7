"""An erasure as `step` takes it: the stub that stands for a person who left, and what is said of them.

Nothing of the row before it is looked at: whoever folds from the erasure on has the same row as who folded all before it.
It decides nothing of what is kept elsewhere, and forgets nobody by a clock.
"""

from __future__ import annotations

from oo.v1 import decision_pb2, erased_pb2, journal_pb2, row_pb2, subject_request_pb2
from tables import taken


def is_erasure(record: journal_pb2.JournalRecord) -> bool:
    """Whether the person leaves with this record."""
    return record.subject_request.HasField("erasure")


def is_stub(row: row_pb2.UserRow) -> bool:
    """Whether it stands for somebody who left and has not begun again."""
    return row.HasField("left") and not row.left.began_again


def passes(left: row_pb2.Left, record: journal_pb2.JournalRecord) -> bool:
    """Whether the row of somebody who left goes past this record: of the life before it, or in no life at all."""
    if is_of_before(left, record.source):
        return True
    if is_erasure(record):
        return record.subject_request.request_id == left.receipt
    return not (left.began_again or begins_again(left, record))


def is_of_before(left: row_pb2.Left, source: journal_pb2.Position) -> bool:
    """Whether it stood in a public topic when the person asked to leave."""
    return bool(source.topic_id) and any(
        source.offset < end.offset and source.partition == end.partition and source.topic_id == end.topic_id
        for end in left.ends
    )


def begins_again(left: row_pb2.Left, record: journal_pb2.JournalRecord) -> bool:
    """Whether the person comes back with this record: a grant that knows of their leaving."""
    return not left.began_again and answers(record.subject_request, left.receipt)


def answers(request: subject_request_pb2.SubjectRequest, receipt: str) -> bool:
    """Whether it grants something and knows of that leaving: only the person says so."""
    return request.consent_changed.granted and request.consent_changed.knows_of == receipt


def stub(
    user_id: str, record: journal_pb2.JournalRecord, *, journal: journal_pb2.Position, time_ms: int
) -> row_pb2.UserRow:
    """The row from an erasure on: its fence, and what keeps the life before it out."""
    row = row_pb2.UserRow(
        journal_offset=journal.offset,
        next_wake_ms=0,
        topic_id=journal.topic_id,
        user_id=user_id,
        now_ms=time_ms,
        time_zone="UTC",
    )
    taken.take(None, record, now_ms=time_ms).write(row)
    request = record.subject_request
    row.left.receipt, row.left.offset, row.left.erased_ms = request.request_id, journal.offset, time_ms
    row.left.ends.extend(request.erasure.ends)
    return row


def tip(row: row_pb2.UserRow, *, journal: journal_pb2.Position) -> decision_pb2.Tip:
    """An empty one, of no decision: what every reader has to show of somebody who left."""
    return decision_pb2.Tip(
        user_id=row.user_id, journal=journal, kind=decision_pb2.Decision.NONE, decided_ms=row.left.erased_ms
    )


def said(row: row_pb2.UserRow, *, partition: int, began_again: journal_pb2.Position | None = None) -> erased_pb2.Erased:
    """The word for `oo.erasures`."""
    left = row.left
    journal = journal_pb2.Position(topic_id=row.topic_id, partition=partition, offset=left.offset)
    return erased_pb2.Erased(
        user_id=row.user_id,
        receipt=left.receipt,
        journal=journal,
        erased_ms=left.erased_ms,
        began_again=began_again,
    )

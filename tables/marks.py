"""Which policy version a record is decided with: the last mark at or below its own offset.

A record that is read again after a crash thus meets the version it met before, whatever came since.
"""

from __future__ import annotations

from oo.v1 import journal_pb2, row_pb2


def version_at(row: row_pb2.PartitionRow, *, offset: int) -> str:
    """Return the version id that is active at that offset; empty before the first mark, which means the prior.

    >>> row = apply(row_pb2.PartitionRow(), journal_pb2.Mark(sequence=1, version_id="a"), offset=5, committed=0)
    >>> version_at(row, offset=4), version_at(row, offset=6)
    ('', 'a')
    """
    version = ""
    for applied in row.marks:
        if applied.offset > offset:
            break
        version = applied.mark.version_id
    return version


def apply(row: row_pb2.PartitionRow, mark: journal_pb2.Mark, *, offset: int, committed: int) -> row_pb2.PartitionRow:
    """Return the partition row with this mark in it.

    A mark read again, or one whose sequence is not above the active one, changes nothing. Marks below the committed
    offset are dropped, all but the one active there: no record that needs them can come again.
    """
    below = [a for a in row.marks if a.offset <= offset]
    if below and (below[-1].offset == offset or mark.sequence <= below[-1].mark.sequence):
        return row
    marks = [*below, row_pb2.AppliedMark(offset=offset, mark=mark), *(a for a in row.marks if a.offset > offset)]
    needed = max((i for i, a in enumerate(marks) if a.offset <= committed), default=0)
    new = row_pb2.PartitionRow()
    new.CopyFrom(row)
    del new.marks[:]
    new.marks.extend(marks[needed:])
    return new

"""One journal partition as a fold: rows and marks in, outputs out. Live work, verify and replay all run this.

It never reads or writes a topic; the caller brings the records in offset order and says when a batch has settled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agents import consents, erasure
from agents.active_version import ActiveVersion
from agents.fault import where
from agents.features import SCORED, SPACES
from agents.step import NOTHING, Entry, Outputs, step
from oo.v1 import journal_pb2, row_pb2
from streams.record import Record
from tables import marks, sums
from tables.sums import Taught
from tables.totals import Totals

OTHERS_MAX = 64
"""People counted who taught otherwise since the version in force: more than `learn` asks for."""


class VersionMissing(Exception):
    """A mark names a policy version that the caller did not bring; the partition has to wait for it."""

    def __init__(self, version_id: str) -> None:
        super().__init__(f"policy version {version_id} is not there")
        self.version_id = version_id


def entry_of(record: Record, journal: journal_pb2.JournalRecord, *, topic_id: bytes) -> Entry:
    """The journal record where it stands in the log."""
    return Entry(
        user_id=(record.key or b"").decode(),
        topic_id=topic_id,
        partition=record.partition,
        offset=record.offset,
        time_ms=record.timestamp_ms,
        record=journal,
    )


class Rows(Protocol):
    """Serialized UserRows by user: a dict, or a table that keeps them elsewhere."""

    def get(self, user_id: str, /) -> bytes | None:
        """This person's row."""

    def update(self, rows: Mapping[str, bytes], /) -> None:
        """Replaces these people's."""


@dataclass(slots=True)
class PartitionState:
    """The state of one partition. `versions`: what each version id means."""

    partition: int
    versions: Mapping[str, ActiveVersion]
    """By version id; the empty id is the prior, active before the first mark."""
    rows: Rows = field(default_factory=dict[str, bytes])
    marks: row_pb2.PartitionRow = field(default_factory=row_pb2.PartitionRow)
    totals: Totals | None = None
    """What its people taught, kept up where it is given."""
    committed: int = 0
    """Offset below which no record comes again: marks below it may go."""
    others: set[str] = field(default_factory=set)
    """People who taught otherwise since the version in force was marked, those who left not among them; no more than OTHERS_MAX."""
    _before: dict[str, row_pb2.UserRow | None] = field(default_factory=dict)
    """Rows as they stood before this batch: each is parsed once."""
    _touched: dict[str, row_pb2.UserRow] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)
    _changed: dict[str, bytes] | None = None
    _marked: bool = False

    def apply(self, entry: Entry) -> Outputs:
        """Folds one record in. Raises VersionMissing before anything has changed.

        A record on which `step` fails changes nothing and gives a fault: the same one at every fold of it.
        """
        if entry.record.HasField("mark"):
            self._mark(entry)
            return NOTHING
        version_id = marks.version_at(self.marks, offset=entry.offset)
        if version_id not in self.versions:
            raise VersionMissing(version_id)
        before = self.row(entry.user_id)
        try:
            after, outputs = step(before, entry, self.versions[version_id])
        except MemoryError:
            raise  # the machine's, not the record's: another fold of it must not come out otherwise
        except Exception as error:  # noqa: BLE001 - our own mistake on one record must not stop all that follow it
            return Outputs(fault=where(error))
        if after is not None and after is not before:
            self._changed = None
            self._touched[entry.user_id] = after
        elif before is not None and before.topic_id == entry.topic_id and before.journal_offset == entry.offset:
            # At the fence: its outputs were acknowledged before the row existed, but was the row?
            self._changed = None
            self._again.add(entry.user_id)
        return outputs

    def row(self, user_id: str) -> row_pb2.UserRow | None:
        """The person's row as it stands, with what this batch changed."""
        if user_id in self._touched:
            return self._touched[user_id]
        if user_id not in self._before:
            message = self.rows.get(user_id)
            self._before[user_id] = None if message is None else row_pb2.UserRow.FromString(message)
        return self._before[user_id]

    def sequence_at(self, offset: int) -> int:
        """Of the version that records at this offset are decided with."""
        return self.versions[marks.version_at(self.marks, offset=offset)].version.sequence

    def changed(self) -> Mapping[str, bytes]:
        """Rows that have to be written before the batch may be committed, by user."""
        if self._changed is None:
            self._changed = {}
            for user_id in sorted(self._touched.keys() | self._again):
                row = self.row(user_id)
                assert row is not None
                self._changed[user_id] = row.SerializeToString(deterministic=True)
        return self._changed

    def changed_marks(self) -> row_pb2.PartitionRow | None:
        """The partition row, if this batch changed it."""
        return self.marks if self._marked else None

    def acknowledge(self) -> None:
        """The batch's rows are acknowledged: they are the state from here on."""
        if self.totals is not None:
            for user_id, row in self._touched.items():
                before = self._before[user_id]
                # What others get of the row, not what is in it: of a stub, and where learning is withdrawn, they get nothing.
                if _teaches(before) != _teaches(row):
                    if erasure.is_stub(row):
                        self.others.discard(user_id)
                    elif len(self.others) < OTHERS_MAX:
                        self.others.add(user_id)
                    self.totals.replace(None if before is None else taught(before), taught(row))
        self.rows.update(self.changed())
        self._before.clear()
        self._touched.clear()
        self._again.clear()
        self._changed = None
        self._marked = False

    def _mark(self, entry: Entry) -> None:
        mark = entry.record.mark
        if mark.version_id not in self.versions:
            raise VersionMissing(mark.version_id)
        after = marks.apply(self.marks, mark, offset=entry.offset, committed=self.committed)
        if after is not self.marks:
            after.topic_id, after.journal_offset, after.next_wake_ms = entry.topic_id, entry.offset, 0
            self.marks, self._marked = after, True
            self.others.clear()


def taught(row: row_pb2.UserRow) -> Taught | None:
    """What a row teaches others, of all features; None where its person has withdrawn that."""
    return (
        sums.read(row, d=SCORED.d, feature_version=SCORED.version, alike=SPACES)
        if consents.teaches_others(row)
        else None
    )


def _teaches(row: row_pb2.UserRow | None) -> bytes:
    """The same, to be compared; rows of before have it as a message."""
    if row is None or not consents.teaches_others(row):
        return b""
    return row.taught or (row.sums.SerializeToString(deterministic=True) if row.HasField("sums") else b"")

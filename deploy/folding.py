"""Folds one partition of the journal again, record by record, for whoever asks what followed from it: verify, snapshots, replay, explain.

Each fold is a loop over `folded`. It only reads, knows no other server than Kafka, and shares `agents.fold` with the live work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from agents.active_version import ActiveVersion
from agents.fold import PartitionState, Rows, entry_of
from agents.rows import MARKS_KEY
from agents.set_aside import NOTHING, Aside
from agents.step import Entry, Outputs
from deploy.keys import read_keys
from oo.v1 import journal_pb2, row_pb2, snapshot_pb2
from streams.cluster import Cluster
from streams.frames import Frames
from streams.reader import bounds, read_partition
from streams.record import Record
from streams.sealing import NO_KEYS, KeyMissing, Keys, Sealing, open_row
from streams.wire import BadFrame, payload
from tables.leavers import Leavers
from tables.snapshots import Reading, Snapshot

NOBODY = Leavers(b"")
"""Never added to."""
ROWS_AT_ONCE = 500
"""Of a snapshot."""


class BeginningGone(Exception):
    """What the fold would have to begin with is not in the journal any more."""


@dataclass(frozen=True, slots=True)
class Journal:
    """Where it is, and what its marks mean: all that a process of its own has to be given."""

    cluster: Cluster
    topic_id: bytes
    versions: Mapping[str, ActiveVersion]
    kek_dir: Path | None = None
    """Of the key-encryption keys: each process reads the keys of its own people. None where nothing is sealed."""
    aside: Mapping[int, Aside] = field(default_factory=dict)
    """What every fold passes over, by partition."""
    leavers: Leavers = NOBODY
    """Whose records every fold passes over, up to where they left."""
    snapshots: Mapping[int, Snapshot] = field(default_factory=dict)
    """By partition, what its fold begins with; those that are not here begin with nothing."""
    history_from_ms: int = 0
    """PostgreSQL may have none of the decisions and outcomes before this."""

    def state(self, number: int) -> PartitionState:
        """Return a partition's state before its first record, for `folded`; whoever keeps rows elsewhere gives it other ones."""
        return PartitionState(partition=number, versions=self.versions)


class Folded(NamedTuple):
    """A record, what followed from it, and its person's row around it. The row of a mark's, which has no person, is None."""

    entry: Entry
    outputs: Outputs
    before: row_pb2.UserRow | None
    after: row_pb2.UserRow | None
    state: PartitionState
    """As the record left it; the next record changes it."""


async def folded(
    journal: Journal,
    number: int,
    *,
    keys: Keys,
    end: int,
    begin: Snapshot | None = None,
    state: PartitionState | None = None,
    users: Container[str] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> AsyncIterator[Folded]:
    """Fold one partition up to an offset, from a row snapshot on or from the beginning.

    `keys`: read after `end` was, see `keys_of`. `state`: a new one (`Journal.state`), which stands at `end` when this is done. `users`: of other people
    nothing is folded; marks always are. `progress` is told how many records were read since it was last called, among them those that are passed over.

    Raises BeginningGone where what it begins with is not there, also when that goes on the way; KeyMissing where a living person's key
    is not there; VersionMissing where a mark's version is not; Damaged where the snapshot is.
    """
    state, start = journal.state(number) if state is None else state, 0
    if begin is not None:
        about, state.marks = take_snapshot(begin.path, state.rows, keys=keys, leavers=journal.leavers, users=users)
        start = about.journal.offset + 1
    await _check_beginning(journal, number, start)
    sealing, aside = Sealing(Frames(), keys), journal.aside.get(number, NOTHING)
    async for records in read(journal, "journal", number, start=start, end=end):
        some = records if users is None else _of(records, users)
        for entry in entries_of(some, sealing=sealing, topic_id=journal.topic_id, aside=aside, leavers=journal.leavers):
            before = state.row(entry.user_id)
            outputs = state.apply(entry)
            yield Folded(entry, outputs, before, state.row(entry.user_id), state)
        state.acknowledge()
        progress(len(records))
    # A reader that is trimmed away under its feet goes on at the new beginning, and says nothing.
    await _check_beginning(journal, number, start)


async def keys_of(journal: Journal, number: int) -> Keys:
    """Return the keys of a partition's people; to be called once its end is known: a key stands there before anything is sealed with it."""
    return NO_KEYS if journal.kek_dir is None else await read_keys(journal.cluster, journal.kek_dir, partition=number)


def entries_of(
    records: Iterable[Record], *, sealing: Sealing, topic_id: bytes, aside: Aside = NOTHING, leavers: Leavers = NOBODY
) -> Iterator[Entry]:
    """The journal records; what is none, or is set aside, is passed over, as the worker does with a dead letter.

    What stands below where its person left is not looked at. Raises KeyMissing: without a living person's key their row would come
    out otherwise.
    """
    for record in records:
        if aside.passes(record) or leavers.passes(record.key, record.offset):
            continue
        try:
            journal = sealing.unframe("journal", record.value, whose=record.key or b"")
            assert isinstance(journal, journal_pb2.JournalRecord)
            entry = entry_of(record, journal, topic_id=topic_id)
        except KeyMissing:
            if leavers.word_of((record.key or b"").decode(errors="replace")) is None:
                raise
            continue  # Sealed by a door that had not heard yet that they left.
        except (BadFrame, UnicodeDecodeError):
            continue
        yield entry


def take_snapshot(
    path: Path, rows: Rows, *, keys: Keys, leavers: Leavers, users: Container[str] | None = None
) -> tuple[snapshot_pb2.Snapshot, row_pb2.PartitionRow]:
    """Put a snapshot's rows, opened, into `rows`; return what its front says, and its marks. Raises Damaged, KeyMissing."""
    some, marks = dict[str, bytes](), row_pb2.PartitionRow()
    with Reading(path) as reading:
        for key, value in reading.rows(leavers):
            if key == MARKS_KEY:
                marks = row_pb2.PartitionRow.FromString(payload(value))
            elif users is None or key.decode() in users:
                some[key.decode()] = open_row(payload(value), whose=key, keys=keys)
                if len(some) >= ROWS_AT_ONCE:
                    rows.update(some)
                    some.clear()
    rows.update(some)
    return reading.about, marks


def read_snapshot(
    path: Path, *, keys: Keys, leavers: Leavers
) -> tuple[snapshot_pb2.Snapshot, dict[str, bytes], row_pb2.PartitionRow]:
    """The same with all rows in memory."""
    rows = dict[str, bytes]()
    about, marks = take_snapshot(path, rows, keys=keys, leavers=leavers)
    return about, rows, marks


def read(
    journal: Journal, topic: str, number: int, *, start: int = 0, end: int | None = None
) -> AsyncIterator[list[Record]]:
    """Yield the records of one partition of the journal, or of its rows."""
    name = journal.cluster.name(topic)
    return read_partition(journal.cluster, name, number, start=start, end=end, ours=topic == "rows")


def _of(records: Iterable[Record], users: Container[str]) -> Iterator[Record]:
    return (one for one in records if not one.key or one.key.decode(errors="replace") in users)


async def _check_beginning(journal: Journal, number: int, start: int) -> None:
    low, _ = await bounds(journal.cluster, journal.cluster.name("journal"), number)
    if low > start:
        raise BeginningGone(
            f"partition {number} of the journal begins at offset {low}, and the fold would have to begin at {start}"
        )

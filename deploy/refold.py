"""Folds the journal again, its partitions shared out among processes, and holds each one's rows against the live ones: from the
beginning, or from a row snapshot on.

What a partition says must be in PostgreSQL and Valkey comes back in digests. It only reads, and knows no other server
than Kafka.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal

from google.protobuf.message import DecodeError, Message

from agents.active_version import ActiveVersion
from agents.fold import PartitionState, entry_of, taught
from agents.rows import MARKS_KEY, read_rows
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
from tables import slates
from tables.leavers import Leavers
from tables.marginal import Epoch
from tables.row import spelled_out
from tables.snapshots import Reading, Snapshot
from tables.totals import Totals

SHOWN_MAX = 50
NOBODY = Leavers(b"")
"""Never added to."""


class RefoldError(Exception):
    """A process that folds partitions ended without having done so."""


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


@dataclass(slots=True)
class Differences:
    """How many there are; the first 50 are kept in words."""

    n: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, what: str) -> None:
        """Counts one."""
        self.n += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(what)


@dataclass(slots=True)
class Part:
    """What one partition's fold says must be out there, and where its rows differ from the live ones."""

    rows: int = 0
    vectors: int = 0
    """Of features, one for each candidate of each decision."""
    differences: Differences = field(default_factory=Differences)
    decisions: dict[str, bytes] = field(default_factory=dict)
    outcomes: dict[str, bytes] = field(default_factory=dict)
    """Digests by id."""
    tips: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Journal offset and digest by user."""
    settings: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """The same."""

    def collect(self, outputs: Outputs, *, history_from_ms: int) -> None:
        """Notes what followed from one record, and of decisions and outcomes what history has to have."""
        decision, tip = outputs.decision, outputs.tip
        if decision is not None:
            if decision.decided_ms >= history_from_ms:
                self.decisions[decision.decision_id] = digest(decision)
            self.vectors += slates.length(decision)
        if tip is not None:
            self.tips[tip.user_id] = tip.journal.offset, digest(tip)
        if (settings := outputs.settings) is not None:
            self.settings[settings.user_id] = settings.journal.offset, digest(settings)
        for outcome in outputs.outcomes:
            if outcome.event_time_ms >= history_from_ms:
                self.outcomes[outcome.outcome_id] = digest(outcome)

    def add(self, other: Part) -> None:
        """Takes another partition's in."""
        self.rows += other.rows
        self.vectors += other.vectors
        self.differences.n += other.differences.n
        self.differences.shown = [*self.differences.shown, *other.differences.shown][:SHOWN_MAX]
        self.decisions |= other.decisions
        self.outcomes |= other.outcomes
        self.tips |= other.tips
        self.settings |= other.settings


def digest(message: Message) -> bytes:
    """Sixteen bytes over a message's deterministic bytes."""
    return hashlib.blake2b(message.SerializeToString(deterministic=True), digest_size=16).digest()


def entries_of(
    records: list[Record], *, sealing: Sealing, topic_id: bytes, aside: Aside = NOTHING, leavers: Leavers = NOBODY
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


async def fold_part(
    journal: Journal, number: int, *, end: int, progress: Callable[[int], None]
) -> tuple[Part, dict[str, bytes]]:
    """Folds one partition up to an offset; `progress` is told how many records were read since it was last called."""
    return await _fold_part(journal, number, end=end, keys=await _keys(journal, number), progress=progress)


async def _keys(journal: Journal, number: int) -> Keys:
    # After the journal's end was: a key stands there before anything is sealed with it.
    return NO_KEYS if journal.kek_dir is None else await read_keys(journal.cluster, journal.kek_dir, partition=number)


async def _fold_part(
    journal: Journal, number: int, *, end: int, keys: Keys, progress: Callable[[int], None]
) -> tuple[Part, dict[str, bytes]]:
    part, rows = Part(), dict[str, bytes]()
    sealing = Sealing(Frames(), keys)
    state, start = PartitionState(partition=number, versions=journal.versions, rows=rows), 0
    if number in journal.snapshots:
        about, standing, state.marks = read_snapshot(journal.snapshots[number].path, keys=keys, leavers=journal.leavers)
        rows.update(standing)
        start = about.journal.offset + 1
    await _check_beginning(journal, number, start)
    aside = journal.aside.get(number, NOTHING)
    async for records in _read(journal, "journal", number, start=start, end=end):
        some = entries_of(records, sealing=sealing, topic_id=journal.topic_id, aside=aside, leavers=journal.leavers)
        for entry in some:
            part.collect(state.apply(entry), history_from_ms=journal.history_from_ms)
        state.acknowledge()
        progress(len(records))
    # A reader that is trimmed away under its feet goes on at the new beginning, and says nothing.
    await _check_beginning(journal, number, start)
    part.rows = len(rows)
    return part, rows


async def _check_beginning(journal: Journal, number: int, start: int) -> None:
    low, _ = await bounds(journal.cluster, journal.cluster.name("journal"), number)
    if low > start:
        raise BeginningGone(
            f"partition {number} of the journal begins at offset {low}, and the fold would have to begin at {start}"
        )


def read_snapshot(
    path: Path, *, keys: Keys, leavers: Leavers
) -> tuple[snapshot_pb2.Snapshot, dict[str, bytes], row_pb2.PartitionRow]:
    """What a snapshot's front says, its rows, opened, and its marks. Raises Damaged, KeyMissing."""
    rows, marks = dict[str, bytes](), row_pb2.PartitionRow()
    with Reading(path) as reading:
        for key, value in reading.rows(leavers):
            if key == MARKS_KEY:
                marks = row_pb2.PartitionRow.FromString(payload(value))
            else:
                rows[key.decode()] = open_row(payload(value), whose=key, keys=keys)
    return reading.about, rows, marks


async def compare_part(journal: Journal, number: int, *, end: int, progress: Callable[[int], None]) -> Part:
    """Folds one partition, and holds its rows against what the changelog makes of them."""
    keys = await _keys(journal, number)
    part, mine = await _fold_part(journal, number, end=end, keys=keys, progress=progress)
    sealed = await read_rows(_read(journal, "rows", number), journal_id=journal.topic_id)
    live = {user_id: open_row(row, whose=user_id.encode(), keys=keys) for user_id, row in sealed.items()}
    compare_rows(mine, live, "live", part.differences)
    return part


async def compare_snapshot(
    journal: Journal, one: Snapshot, *, epochs: Mapping[int, Epoch], progress: Callable[[int], None]
) -> Differences:
    """Folds the journal up to a snapshot, and holds its rows and totals against what stands in it. Raises Damaged, BeginningGone."""
    keys, found = await _keys(journal, one.partition), Differences()
    about, theirs, _ = read_snapshot(one.path, keys=keys, leavers=journal.leavers)
    if about.journal.topic_id != journal.topic_id:
        found.add(f"{one.path} is of another journal")
        return found
    _, mine = await _fold_part(journal, one.partition, end=one.offset + 1, keys=keys, progress=progress)
    compare_rows(mine, theirs, "in the snapshot", found)
    if not journal.leavers.times(one.partition, above=one.offset, to=sys.maxsize):
        totals = Totals(epochs=epochs)
        for row in theirs.values():
            totals.replace(None, taught(row_pb2.UserRow.FromString(row)))
        if totals.to_bytes() != about.totals:
            found.add(f"totals of partition {one.partition}: not the sum of the rows")
    return found


def compare_rows(mine: Mapping[str, bytes], theirs: Mapping[str, bytes], where: str, found: Differences) -> None:
    """Adds what differs between the fold's rows and those that stand somewhere."""
    for user_id in sorted(mine.keys() | theirs.keys()):
        if user_id not in mine or user_id not in theirs:
            found.add(f"row of {user_id}: only {where if user_id in theirs else 'in the fold'}")
        elif mine[user_id] != theirs[user_id] and not _same(mine[user_id], theirs[user_id]):
            sizes = f"{len(mine[user_id])} bytes in the fold, {len(theirs[user_id])} {where}"
            found.add(f"row of {user_id}: {sizes}, not the same")


def _same(mine: bytes, live: bytes) -> bool:
    """Whether two rows say the same, of which one may have been written before rows were kept in columns."""
    try:
        return digest(spelled_out(row_pb2.UserRow.FromString(mine))) == digest(
            spelled_out(row_pb2.UserRow.FromString(live))
        )
    except (DecodeError, ValueError):
        return False


async def compare_parts(
    journal: Journal, ends: Mapping[int, int], *, processes: int, progress: Callable[[int], None]
) -> AsyncGenerator[Part, None]:
    """Does that for every partition, in at most so many processes at a time; parts come as they are done.

    No process outlives this: they end when the iteration does, and when this process is gone they cannot report and
    end too. Raises RefoldError for one that fails.
    """
    shares = share_out(ends, processes)
    said: asyncio.Queue[int | Part | RefoldError] = asyncio.Queue()
    tasks = [asyncio.create_task(_listen(journal, share, said)) for share in shares]
    try:
        left = sum(len(share) for share in shares)
        while left:
            one = await said.get()
            if isinstance(one, RefoldError):
                raise one
            if isinstance(one, Part):
                left -= 1
                yield one
            else:
                progress(one)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def share_out(ends: Mapping[int, int], processes: int) -> list[list[tuple[int, int]]]:
    """Partitions with their ends in as many shares, the longest first and always to the share that holds least.

    >>> share_out({0: 5, 1: 9, 2: 3, 3: 1}, 2)
    [[(1, 9)], [(0, 5), (2, 3), (3, 1)]]
    """
    shares: list[list[tuple[int, int]]] = [[] for _ in range(min(processes, len(ends)))]
    for number, end in sorted(ends.items(), key=lambda one: -one[1]):
        min(shares, key=lambda share: sum(records for _, records in share)).append((number, end))
    return shares


async def _listen(
    journal: Journal, share: list[tuple[int, int]], said: asyncio.Queue[int | Part | RefoldError]
) -> None:
    left = len(share)
    async with _child(journal, share) as (connection, readable):
        while left:
            await readable.wait()
            readable.clear()
            try:
                while left and connection.poll():
                    one = connection.recv()
                    said.put_nowait(one)
                    left -= not isinstance(one, int)
            except EOFError:
                said.put_nowait(RefoldError("a process that folds the journal ended on its way"))
                return


@asynccontextmanager
async def _child(journal: Journal, share: list[tuple[int, int]]) -> AsyncIterator[tuple[Connection, asyncio.Event]]:
    # Spawned: a fork would take over the threads' locks of this process, librdkafka's among them.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, journal, share), daemon=True)
    process.start()
    theirs.close()
    readable, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(ours.fileno(), readable.set)
    try:
        yield ours, readable
    finally:
        loop.remove_reader(ours.fileno())
        process.kill()  # It only reads.
        process.join()
        ours.close()


def _work(said: Connection, journal: Journal, share: list[tuple[int, int]]) -> None:
    """A process's life."""
    signal(SIGINT, SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one ends the others.
    with suppress(BrokenPipeError):  # Nobody listens any more.
        try:
            for number, end in share:
                said.send(asyncio.run(compare_part(journal, number, end=end, progress=said.send)))
        except Exception as error:  # noqa: BLE001 - the process's edge: whoever listens says it
            said.send(RefoldError(f"{type(error).__name__}: {error}"))


def _read(
    journal: Journal, topic: str, number: int, *, start: int = 0, end: int | None = None
) -> AsyncIterator[list[Record]]:
    name = journal.cluster.name(topic)
    return read_partition(journal.cluster, name, number, start=start, end=end, ours=topic == "rows")

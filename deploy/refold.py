"""Holds each partition's rows, folded again, against the live ones or those of a row snapshot.

What a partition says must be in PostgreSQL and Valkey comes back in digests. It only reads, and knows no other server
than Kafka.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError, Message

from agents.fold import taught
from agents.rows import read_rows
from agents.step import Outputs
from deploy.folding import Journal, folded, keys_of, read, read_snapshot
from deploy.shares import in_processes
from oo.v1 import row_pb2
from streams.sealing import Keys, open_row
from tables import slates
from tables.marginal import Epoch
from tables.row import spelled_out
from tables.snapshots import Snapshot
from tables.totals import Totals

SHOWN_MAX = 50


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


async def fold_part(
    journal: Journal, number: int, *, end: int, progress: Callable[[int], None]
) -> tuple[Part, dict[str, bytes]]:
    """Folds one partition up to an offset; `progress` is told how many records were read since it was last called."""
    return await _fold_part(journal, number, end=end, keys=await keys_of(journal, number), progress=progress)


async def _fold_part(
    journal: Journal, number: int, *, end: int, keys: Keys, progress: Callable[[int], None]
) -> tuple[Part, dict[str, bytes]]:
    part, rows, state = Part(), dict[str, bytes](), journal.state(number)
    state.rows = rows
    begin = journal.snapshots.get(number)
    async for one in folded(journal, number, keys=keys, end=end, begin=begin, state=state, progress=progress):
        part.collect(one.outputs, history_from_ms=journal.history_from_ms)
    part.rows = len(rows)
    return part, rows


async def compare_part(journal: Journal, number: int, *, end: int, progress: Callable[[int], None]) -> Part:
    """Folds one partition, and holds its rows against what the changelog makes of them."""
    keys = await keys_of(journal, number)
    part, mine = await _fold_part(journal, number, end=end, keys=keys, progress=progress)
    sealed = await read_rows(read(journal, "rows", number), journal_id=journal.topic_id)
    live = {user_id: open_row(row, whose=user_id.encode(), keys=keys) for user_id, row in sealed.items()}
    compare_rows(mine, live, "live", part.differences)
    return part


async def compare_snapshot(
    journal: Journal, one: Snapshot, *, epochs: Mapping[int, Epoch], progress: Callable[[int], None]
) -> Differences:
    """Folds the journal up to a snapshot, and holds its rows and totals against what stands in it. Raises Damaged, BeginningGone."""
    keys, found = await keys_of(journal, one.partition), Differences()
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


def compare_parts(
    journal: Journal, ends: Mapping[int, int], *, processes: int, progress: Callable[[int], None]
) -> AsyncGenerator[Part, None]:
    """Does that for every partition, in at most so many processes at a time; parts come as they are done. Raises RefoldError."""
    return in_processes(_compare_part, journal, ends, processes=processes, progress=progress)


async def _compare_part(journal: Journal, number: int, end: int, progress: Callable[[int], None]) -> Part:
    return await compare_part(journal, number, end=end, progress=progress)

"""Cuts the journal while people write, folds it to the cut in processes, and holds what is live against it: rows, decisions, outcomes, tips, settings.

A cut is an offset per partition of which all that follows is out there: what `core` had committed, once `record` and `publish` had taken what stood in
their topics then. Nothing has to stand still. It only reads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

import psycopg
from google.protobuf.message import DecodeError
from psycopg import sql

from connectors.leaving import leavers_of
from connectors.postgres import age
from connectors.postgres.leavers import TIMES
from connectors.valkey import TipStore
from deploy.differing import Differences, Kept, Served, Shown, opened_digest
from deploy.folding import BeginningGone, Journal, keys_of
from deploy.journal import whole_journal
from deploy.refold import Live, Part, compare, live_rows, scratch
from deploy.shares import RefoldError, in_processes
from deploy.snapshots import begun
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.outcome_pb2 import Outcome
from streams.clock import clock_ms
from streams.cluster import Cluster
from streams.reader import committed, end_offsets, topic_id
from streams.sealing import Keys
from tables.leavers import Leavers
from tables.verified import Verified, VerifiedFile, whose_turn

PATIENCE_S = 30.0
SETTLE_S = 120.0
"""How long to wait for the workers to have taken what stood in the topics."""
NICENESS = 19
SHOWN_MAX = 5
"""Of a partition, in the file."""
ASKED_AT_ONCE = 64
"""People whose tips are asked for together."""

READERS = {
    "signals": "core",
    "reactions": "core",
    "subject-requests": "core",
    "journal": "core",
    "tips": "publish",
    "settings": "publish",
    "decisions": "record",
    "outcomes": "record",
    "erasures": "record",
}
"""Which process takes each topic, in the order that a record goes through them."""


class NotSettled(Exception):
    """The workers are behind: there is nothing to compare yet."""


@dataclass(slots=True)
class Report:
    """What was compared, and where the two sides differ."""

    records: int = 0
    rows: int = 0
    decisions: int = 0
    vectors: int = 0
    """Of features, in these decisions: each was made again from the journal."""
    outcomes: int = 0
    tips: int = 0
    settings: int = 0
    differences: int = 0
    shown: list[str] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    """By partition, the journal offset at which a fold from a snapshot began."""
    cut: dict[int, int] = field(default_factory=dict)
    """By partition, the journal offset below which all was compared."""
    by_partition: dict[int, int] = field(default_factory=dict)
    """Differences."""


async def verify(
    stack: RunningStack,
    *,
    from_snapshot: bool = False,
    partitions: Collection[int] | None = None,
    reaching: Mapping[int, int] = MappingProxyType({}),
    processes: int = os.cpu_count() or 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Compare what stands below a cut that is made now. `partitions`: all by default. `progress(done, total)` counts journal records.

    A partition whose journal was trimmed is folded from the oldest row snapshot that reaches its beginning; with `from_snapshot` each from its
    newest one, with `reaching` from the newest that leaves nothing from these offsets on out. Partitions are folded in processes of their own, one per core by default. Raises NotSettled where the workers do not
    take what stands in the topics, BeginningGone where there is no snapshot to begin with, and RefoldError where a fold ends on its way.
    """
    ends = await cut(stack.cluster)
    if partitions is not None:
        ends = {number: end for number, end in ends.items() if number in partitions}
    journal = await begun(stack, await whole_journal(stack), ends, from_snapshot=from_snapshot, reaching=reaching)
    starts = {number: one.offset + 1 for number, one in journal.snapshots.items()}
    report, found = Report(starts=starts, cut=ends), Differences()
    total = sum(max(end - starts.get(number, 0), 0) for number, end in ends.items())

    def count(records: int) -> None:
        report.records += records
        progress(report.records, max(total, report.records))

    work = partial(verify_part, stack)
    async with aclosing(in_processes(work, journal, ends, processes=processes, progress=count)) as parts:
        async for part in parts:
            report.rows += part.rows
            report.decisions += part.decisions
            report.vectors += part.vectors
            report.outcomes += part.outcomes
            report.tips += part.tips
            report.settings += part.settings
            report.by_partition[part.partition] = part.differences.n
            found.take(part.differences)
    report.differences, report.shown = found.n, found.shown
    return report


async def verify_in_turn(stack: RunningStack) -> tuple[int, Verified]:
    """Verify the partition that was tried longest ago, beside the work, at the lowest priority, and note what came of it.

    It begins where the last one that found nothing ended, or at a row snapshot before; so all is compared once, and what differs is found again until
    it does not. Raises what `verify` does, which is noted too.
    """
    os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    journal_id, file = await topic_id(stack.cluster, "journal"), VerifiedFile(stack.folder.verified_file)
    known, now_ms = file.read(journal_id), clock_ms()
    number = whose_turn(known, range(stack.cluster.topics["journal"].partitions))
    before = known.get(number, Verified(now_ms))
    reaching = {number: before.sound} if before.sound else {}
    try:
        report = await verify(stack, partitions=(number,), reaching=reaching, processes=1)
    except (NotSettled, BeginningGone, RefoldError) as error:
        file.note(journal_id, number, replace(before, tried_ms=now_ms, why_not=str(error)))
        raise
    sound = before.sound if report.differences else report.cut[number]
    found = Verified(now_ms, now_ms, sound, report.differences, tuple(report.shown[:SHOWN_MAX]))
    file.note(journal_id, number, found)
    return number, found


async def verify_part(
    stack: RunningStack, given: Journal, number: int, end: int, progress: Callable[[int], None]
) -> Part:
    """Compare one partition, cut at `end`; of what was given only where its fold begins stands. Raises what `folded` does.

    The order tells: what is live is read after the cut, so the fold of all below the cut is in it; keys after what is live, so each is there; who left,
    what is set aside and what versions mean after the keys, so of a key that is gone it is known why.
    """
    with scratch() as made:
        rows = await live_rows(given, number, made)
        tips, settings = await _served(stack, rows, journal_id=given.topic_id)
        keys = await keys_of(given, number)
        journal = replace(await whole_journal(stack), snapshots=given.snapshots)
        async with _history(stack, journal, number, keys) as history:
            _, from_ms = await history.excuses()
            live = Live(rows, tips, settings, history)
            journal = replace(journal, history_from_ms=from_ms)
            return await compare(journal, number, live, cut=end, keys=keys, scratch=made, progress=progress)


async def cut(cluster: Cluster) -> dict[int, int]:
    """Cut the journal: return by partition an offset below which all that follows is in its topics, PostgreSQL and Valkey.

    What was acknowledged to anybody who wrote before this was called stands below. Raises NotSettled.
    """
    await _taken(cluster, ("signals", "reactions", "subject-requests"))
    await _taken(cluster, ("journal",))
    done = await committed(cluster, cluster.group("core"), cluster.name("journal"))
    await _taken(cluster, ("tips", "settings", "decisions", "outcomes", "erasures"))
    return {number: offset or 0 for number, offset in done.items()}


async def _taken(cluster: Cluster, names: Iterable[str]) -> None:
    """Return once their groups have committed what stands in these topics now."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SETTLE_S
    left = {name: await end_offsets(cluster, cluster.name(name)) for name in names}
    while left:
        for name, ends in list(left.items()):
            taken = await committed(cluster, cluster.group(READERS[name]), cluster.name(name))
            if all((taken.get(number) or 0) >= end for number, end in ends.items()):
                del left[name]
        if left and loop.time() > until_s:
            raise NotSettled(
                f"the workers have not taken all that stood in {', '.join(left)} within {SETTLE_S:.0f} s: "
                "'oo status' shows which one is behind"
            )
        if left:
            await asyncio.sleep(0.3)


async def _served(stack: RunningStack, users: Iterable[str], *, journal_id: bytes) -> tuple[Served, Served]:
    """The tips and settings of these people."""
    # Nobody waits for it as a client of the edge does, and it asks many at once.
    store, people = TipStore(stack.valkey_url, timeout_s=PATIENCE_S), list(users)
    tips, settings = dict[str, Shown | None](), dict[str, Shown | None]()

    async def ask(user_id: str) -> None:
        standing = await store.read(user_id)
        tips[user_id] = None if standing is None else standing.tip
        settings[user_id] = await store.settings(user_id)

    try:
        for at in range(0, len(people), ASKED_AT_ONCE):
            await asyncio.gather(*map(ask, people[at : at + ASKED_AT_ONCE]))
    finally:
        await store.close()
    return (
        Served("tip", tips, journal_id=journal_id),
        Served("settings", settings, journal_id=journal_id),
    )


@dataclass(frozen=True, slots=True)
class _History:
    connection: psycopg.AsyncConnection
    cluster: Cluster
    topic_id: bytes
    number: int
    keys: Keys

    async def between(self, name: str, low: int, high: int) -> list[Kept]:
        place = [self.topic_id, self.number, low, high]
        return [
            Kept(one, user_id, offset, time_ms, self._digest(name, message, user_id))
            for one, user_id, offset, time_ms, message in await (
                await self.connection.execute(_SELECTED[name], place)
            ).fetchall()
        ]

    async def excuses(self) -> tuple[Leavers, int]:
        return await leavers_of(self.cluster), await age.trimmed_below(self.connection)

    def _digest(self, name: str, message: bytes, user_id: str) -> bytes:
        try:
            return opened_digest(_KINDS[name].FromString(message), whose=user_id, keys=self.keys)
        except DecodeError:
            return b""


@asynccontextmanager
async def _history(stack: RunningStack, journal: Journal, number: int, keys: Keys) -> AsyncIterator[_History]:
    # Each question by itself: one that lasted as long as the fold would keep PostgreSQL from cleaning up.
    async with await psycopg.AsyncConnection.connect(stack.recommender_dsn, autocommit=True) as connection:
        yield _History(connection, stack.cluster, journal.topic_id, number, keys)


_KINDS: Mapping[str, type[Decision | Outcome]] = {"decision": Decision, "outcome": Outcome}
_SELECTED = {
    name: sql.SQL(
        "SELECT {one}, user_id, journal_offset, {time}, message FROM {table} "
        "WHERE topic_id = %s AND partition = %s AND journal_offset >= %s AND journal_offset < %s"
    ).format(
        one=sql.Identifier(f"{name}_id"),
        time=sql.Identifier(TIMES[f"{name}s"]),
        table=sql.Identifier("recommender", f"{name}s"),
    )
    for name in _KINDS
}


async def lag(cluster: Cluster, topic: str, reader: str) -> int:
    """Records of a topic that a group has yet to commit."""
    ends, taken = await end_offsets(cluster, topic), await committed(cluster, reader, topic)
    return sum(end - (taken.get(number) or 0) for number, end in ends.items())

"""Folds the journal and holds what is live against it: rows, decisions, outcomes, and the tips that are served.

It shares `step` with the product, so it finds what was lost, doubled or torn on the way, and cannot see a wrong `step`.
It only reads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import psycopg
from psycopg import sql

from connectors.postgres import age
from connectors.postgres.leavers import TIMES
from connectors.valkey import TipStore
from deploy.folding import Journal
from deploy.journal import whole_journal
from deploy.keys import read_keys
from deploy.refold import Differences, Part, compare_parts, digest
from deploy.snapshots import begun
from deploy.stack.running import RunningStack
from oo.v1.decision_pb2 import Decision
from oo.v1.outcome_pb2 import Outcome
from streams.cluster import Cluster
from streams.keys import Keys
from streams.reader import committed, end_offsets
from streams.sealing import opened

SETTLE_S = 120.0
"""How long to wait for the workers to have taken what stands in the topics."""
TRIES = 5
"""A stack in use moves on while it is read; a difference counts only if the journal stood still."""

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
    """The workers are behind, or the journal kept growing: there is nothing to compare yet."""


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
    differences: int = 0
    shown: list[str] = field(default_factory=list)
    starts: dict[int, int] = field(default_factory=dict)
    """By partition, the journal offset at which a fold from a snapshot began."""


async def verify(
    stack: RunningStack,
    *,
    from_snapshot: bool = False,
    processes: int = os.cpu_count() or 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Compare, once the workers have caught up. `progress(done, total)` counts journal records.

    A partition whose journal was trimmed is folded from the oldest row snapshot that reaches its beginning; with `from_snapshot` each from its
    newest one. Partitions are folded in processes of their own, one per core by default. Raises NotSettled where the workers do not
    catch up, or the journal grows faster than it can be read, and BeginningGone where there is no snapshot to begin with.
    """
    cluster = stack.cluster
    for _ in range(TRIES):
        # The ends first: a word of what is set aside stands there before any fold goes past its record.
        ends, trimmed_ms = await caught_up(cluster), await _trimmed_below(stack)
        journal = replace(await whole_journal(stack), history_from_ms=trimmed_ms)
        journal = await begun(stack, journal, ends, from_snapshot=from_snapshot)
        report = await _compare(stack, journal, ends, processes, progress)
        if report.differences == 0:
            return report
        if await end_offsets(cluster, cluster.name("journal")) == ends and await _trimmed_below(stack) == trimmed_ms:
            return report
    raise NotSettled("the journal kept growing while it was read: verify again when less is written")


async def _compare(
    stack: RunningStack,
    journal: Journal,
    ends: dict[int, int],
    processes: int,
    progress: Callable[[int, int], None],
) -> Report:
    report, expected, cluster = Report(), Part(), stack.cluster
    starts = {number: one.offset + 1 for number, one in journal.snapshots.items()}
    total = sum(end - starts.get(number, 0) for number, end in ends.items())

    def count(records: int) -> None:
        report.records += records
        progress(report.records, total)

    async with aclosing(compare_parts(journal, ends, processes=processes, progress=count)) as parts:
        async for part in parts:
            expected.add(part)
    report.rows, report.decisions, report.vectors = expected.rows, len(expected.decisions), expected.vectors
    report.outcomes, report.tips = len(expected.outcomes), len(expected.tips)
    report.starts = starts
    found = expected.differences
    keys = await read_keys(cluster, stack.kek_dir)
    await _compare_postgres(stack, expected, found, keys, journal)
    await _compare_valkey(stack, expected, found, keys)
    report.differences, report.shown = found.n, found.shown
    return report


async def _trimmed_below(stack: RunningStack) -> int:
    async with await psycopg.AsyncConnection.connect(stack.recommender_dsn) as connection:
        return await age.trimmed_below(connection)


async def _compare_postgres(
    stack: RunningStack, expected: Part, found: Differences, keys: Keys, journal: Journal
) -> None:
    kinds: tuple[tuple[str, dict[str, bytes], type[Decision | Outcome]], ...] = (
        ("decision", expected.decisions, Decision),
        ("outcome", expected.outcomes, Outcome),
    )
    async with await psycopg.AsyncConnection.connect(stack.recommender_dsn) as connection:
        for name, ids, kind in kinds:
            seen = 0
            async with connection.cursor(name=f"verify_{name}") as cursor:
                await cursor.execute(_select(name, message=True))
                async for key, user_id, message, topic, partition, offset, time_ms in cursor:
                    if topic != journal.topic_id:
                        continue  # Of another journal, which this one took the place of.
                    if key not in ids:
                        begin = journal.snapshots.get(partition)
                        if begin is not None and offset <= begin.offset:
                            continue  # Of before the fold begins.
                        if time_ms < journal.history_from_ms:
                            continue  # It came again, and goes again.
                        found.add(f"{name} {key}: in PostgreSQL, not in the fold")
                        continue
                    seen += 1
                    said = opened(kind.FromString(message), whose=user_id.encode(), keys=keys)
                    if digest(said) != ids[key]:
                        found.add(f"{name} {key}: not the same in PostgreSQL and in the fold")
            if seen < len(ids):
                async with connection.cursor() as cursor:
                    await cursor.execute(_select(name, message=False))
                    there = {key for (key,) in await cursor.fetchall()}
                for key in sorted(ids.keys() - there):
                    found.add(f"{name} {key}: in the fold, missing in PostgreSQL")


_COMPARED = ("user_id", "message", "topic_id", "partition", "journal_offset")
"""And the time of each, which has another name in each table."""


def _select(name: str, *, message: bool) -> sql.Composed:
    columns = [sql.Identifier(f"{name}_id"), *map(sql.Identifier, (*_COMPARED, TIMES[f"{name}s"]) if message else ())]
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), sql.Identifier("recommender", f"{name}s"))


async def _compare_valkey(stack: RunningStack, expected: Part, found: Differences, keys: Keys) -> None:
    store = TipStore(stack.valkey_url)
    try:
        for user_id, (offset, said) in sorted(expected.tips.items()):
            standing = await store.read(user_id)
            if standing is None:
                found.add(f"tip of {user_id}: in the fold, missing in Valkey")
            elif digest(opened(standing.tip, whose=user_id.encode(), keys=keys)) != said:
                found.add(f"tip of {user_id}: Valkey serves journal offset {standing.offset}, the fold says {offset}")
        for user_id, (offset, said) in sorted(expected.settings.items()):
            settings = await store.settings(user_id)
            if settings is None:
                found.add(f"settings of {user_id}: in the fold, missing in Valkey")
            elif digest(opened(settings, whose=user_id.encode(), keys=keys)) != said:
                there = settings.journal.offset
                found.add(f"settings of {user_id}: Valkey shows journal offset {there}, the fold says {offset}")
    finally:
        await store.close()


async def caught_up(cluster: Cluster) -> dict[int, int]:
    """The journal's ends, once every group has taken all that stands in its topics."""
    loop, journal = asyncio.get_running_loop(), cluster.name("journal")
    until_s = loop.time() + SETTLE_S
    while True:
        ends = await end_offsets(cluster, journal)
        behind = [name for name, by in READERS.items() if await lag(cluster, cluster.name(name), cluster.group(by))]
        if not behind and ends == await end_offsets(cluster, journal):
            return ends
        if loop.time() > until_s:
            raise NotSettled(
                f"the workers have not taken all of {', '.join(behind) or 'the journal'} within {SETTLE_S:.0f} s: "
                "'oo status' shows which one is behind"
            )
        await asyncio.sleep(0.3)


async def lag(cluster: Cluster, topic: str, reader: str) -> int:
    """Records of a topic that a group has yet to commit."""
    ends, taken = await end_offsets(cluster, topic), await committed(cluster, reader, topic)
    return sum(end - (taken.get(number) or 0) for number, end in ends.items())

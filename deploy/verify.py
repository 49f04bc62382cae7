"""Cuts the journal while people write, folds it to the cut in processes, and holds what is live against it: rows, decisions,
outcomes, requests, tips, settings.

A cut is an offset per partition of which all that follows is out there: what `core` had committed, once `record` and `publish` had taken what stood in
their topics then. Nothing has to stand still. It only reads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

from connectors.valkey import TipStore
from deploy.asked import asked
from deploy.cut import NotSettled, cut
from deploy.differing import Differences, Served, Shown
from deploy.folding import BeginningGone, Journal, keys_of
from deploy.journal import whole_journal
from deploy.recorded import recorded
from deploy.refold import Live, Part, compare, live_rows
from deploy.scratch import scratch
from deploy.shares import RefoldError, in_processes, worth
from deploy.snapshots import begun
from deploy.stack.running import RunningStack
from streams.clock import clock_ms
from streams.reader import topic_id
from tables.verified import Verified, VerifiedFile, whose_turn

PATIENCE_S = 30.0
NICENESS = 19
SHOWN_MAX = 5
"""Of a partition, in the file."""
ASKED_AT_ONCE = 64
"""People whose tips are asked for together."""


@dataclass(slots=True)
class Report:
    """What was compared, and where the two sides differ."""

    records: int = 0
    rows: int = 0
    decisions: int = 0
    vectors: int = 0
    """Of features, in these decisions: each was made again from the journal."""
    outcomes: int = 0
    requests: int = 0
    """Of what a language model is asked."""
    deliveries: int = 0
    """Of what is said to somebody who does not look, or taken back."""
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
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Compare what stands below a cut that is made now. `partitions`: all by default. `progress(done, total)` counts journal records.

    A partition whose journal was trimmed is folded from the oldest row snapshot that reaches its beginning; with `from_snapshot` each from its
    newest one, with `reaching` from the newest that leaves nothing from these offsets on out. Partitions are folded in processes of their own, by default as many as are worth it. Raises NotSettled where the workers do not
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
    async with aclosing(
        in_processes(work, journal, ends, processes=processes or worth(total), progress=count)
    ) as parts:
        async for part in parts:
            report.rows += part.rows
            report.decisions += part.decisions
            report.vectors += part.vectors
            report.outcomes += part.outcomes
            report.requests += part.requests
            report.deliveries += part.deliveries
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
        async with (
            recorded(stack, journal.topic_id, number, keys) as history,
            asked(journal, number, keys=keys) as requests,
            asked(journal, number, keys=keys, name="delivery") as deliveries,
        ):
            _, from_ms = await history.excuses()
            live = Live(rows, tips, settings, history, {"request": requests, "delivery": deliveries})
            journal = replace(journal, history_from_ms=from_ms)
            return await compare(journal, number, live, cut=end, keys=keys, scratch=made, progress=progress)


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

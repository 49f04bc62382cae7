"""Holds what a run made again against what was logged, as `oo verify` does with a fold: decisions, outcomes, requests, and rows.

It reads the run, people's keys, the rows' changelog, the requests and PostgreSQL, and writes nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agents import rows
from connectors.leaving import leavers_of
from deploy.asked import asked
from deploy.differing import UNREADABLE, Differences, Kept
from deploy.folding import Journal
from deploy.folding import read as read_topic
from deploy.keys import read_keys
from deploy.recorded import recorded
from deploy.replay.fold import digest_bytes
from deploy.replay.manifest import Manifest, Run
from deploy.replay.sink import has, read
from deploy.scratch import scratch
from deploy.stack.running import RunningStack
from deploy.stretch import Stretch
from streams.sealing import Keys, open_row
from streams.wire import payload
from tables.store import Store
from tables.table import merge


@dataclass(slots=True)
class Compared:
    """How much was compared, and the first difference in words, where the comparison ended."""

    decisions: int = 0
    outcomes: int = 0
    requests: int = 0
    """To language models."""
    rows: int = 0
    """Of people of whom nothing was folded behind the end of the range: of the others, the live row is ahead."""
    rows_ahead: int = 0
    difference: str = ""
    passed_over: int = 0
    """Of people who left since, or decisions and outcomes older than what PostgreSQL keeps."""


async def compare(stack: RunningStack, run: Run) -> Compared:
    """Compare all of a run that is done, up to the first stretch in which something differs. Raises RunError for one that is not done."""
    manifest, found = run.manifest(), Compared()
    run.check_done()
    for number in sorted(manifest.end):
        await _compare(stack, run, manifest, number, found)
        if found.difference:
            break
    return found


async def _compare(stack: RunningStack, run: Run, manifest: Manifest, number: int, found: Compared) -> None:
    with scratch() as made:
        leavers = await leavers_of(stack.cluster)
        journal = Journal(stack.cluster, bytes.fromhex(manifest.journal_id), {}, leavers=leavers)
        # In this order, so that who leaves meanwhile is no difference.
        live = made("live", rows.head)
        pairs = ([(one.key, one.value) for one in some] async for some in read_topic(journal, "rows", number))
        await merge(pairs, live, head=rows.head, order=rows.order_in(journal.topic_id))
        keys = await read_keys(stack.cluster, stack.kek_dir, partition=number)
        await _compare_history(stack, run, manifest, number, keys, found)
        if not found.difference and has(run, number, "requests"):
            await _compare_requests(run, manifest, journal, number, keys, found)
        if not found.difference:
            await _compare_rows(stack, run, manifest, number, live, keys, found)


async def _compare_rows(
    stack: RunningStack, run: Run, manifest: Manifest, number: int, live: Store, keys: Keys, found: Compared
) -> None:
    """Hold each row behind the range against the live one, where that is of the same record, or ought to be."""
    journal_id, end = bytes.fromhex(manifest.journal_id), manifest.end[number]
    order, leavers, users, mine = rows.order_in(journal_id), await leavers_of(stack.cluster), set(manifest.users), set()
    for one in read(run, number, "rows"):
        user, at = one["user"], one["journal_offset"]
        mine.add(user)
        whose, framed = user.encode(), live.get(user.encode())
        live_at = -1 if framed is None else order(rows.head(framed))
        if leavers.passes(whose, at):
            found.passed_over += 1
        elif live_at >= end:
            found.rows_ahead += 1
        else:
            found.rows += 1
            if (how := _differs(framed, live_at, at, one["digest"], whose, keys)) and not found.difference:
                found.difference = f"row of {user} of partition {number}: {how}"
    for key, head in live.scan():
        user, live_at = key.decode(errors="replace"), order(head)
        if key == rows.MARKS_KEY or user in mine or (users and user not in users) or found.difference:
            continue
        if 0 <= live_at < end and not leavers.passes(key, live_at):
            found.difference = f"row of {user} of partition {number}: live at {live_at}, and the run has none"


def _differs(framed: bytes | None, live_at: int, at: int, digest: bytes, whose: bytes, keys: Keys) -> str:
    if framed is None:
        return f"the run has it at {at}, and there is none live"
    if live_at != at:
        return f"live stands at {live_at}, the run has it at {at}"
    try:
        is_same = digest_bytes(open_row(payload(framed), whose=whose, keys=keys)) == digest
    except UNREADABLE:
        return "live cannot be opened"
    return "" if is_same else f"not the same live and in the run, of journal offset {at}"


async def _compare_history(
    stack: RunningStack, run: Run, manifest: Manifest, number: int, keys: Keys, found: Compared
) -> None:
    differences = Differences()
    start, end = manifest.start[number], manifest.end[number]
    async with recorded(stack, bytes.fromhex(manifest.journal_id), number, keys) as history:
        _, from_ms = await history.excuses()
        users = set(manifest.users) or None
        stretch = Stretch(history, differences, start=start, cut=end, from_ms=from_ms, users=users)
        await _hold(stretch, _logged(run, number), start, end, differences)
    found.decisions += stretch.compared["decision"]
    found.outcomes += stretch.compared["outcome"]
    _take(found, stretch, differences, number)


async def _compare_requests(
    run: Run, manifest: Manifest, journal: Journal, number: int, keys: Keys, found: Compared
) -> None:
    """As `oo verify` holds those of a fold against what stands."""
    differences, start, end = Differences(), manifest.start[number], manifest.end[number]
    async with asked(journal, number, keys=keys) as (history, asked_from):
        stretch = Stretch(
            *(history, differences),
            start=max(start, asked_from),
            cut=end,
            from_ms=0,
            users=set(manifest.users) or None,
            names=("request",),
            where="Kafka",
        )
        logged = (
            ("request", Kept(one["request_id"], one["user"], one["offset"], one["requested_ms"], one["digest"]))
            for one in read(run, number, "requests")
        )
        await _hold(stretch, logged, start, end, differences)
    found.requests += stretch.compared["request"]
    _take(found, stretch, differences, number)


async def _hold(
    stretch: Stretch, logged: Iterable[tuple[str, Kept]], start: int, end: int, differences: Differences
) -> None:
    """Hold these against history, up to the first stretch in which something differs."""
    at = start
    for name, one in logged:
        # A record's are compared together.
        if stretch.full and one.offset > at:
            await stretch.compare(one.offset)
            if differences.n:
                break
        at = one.offset
        stretch.add(name, one)
    else:
        await stretch.compare(end)
    await stretch.settle()


def _take(found: Compared, stretch: Stretch, differences: Differences, number: int) -> None:
    found.passed_over += stretch.excused
    if differences.n:
        what, _, how = differences.shown[0].partition(": ")
        found.difference = f"{what} of partition {number}: {how}"


def _logged(run: Run, number: int) -> Iterator[tuple[str, Kept]]:
    """A run's decisions and outcomes of a partition, in the order of the journal."""
    decisions = (
        ("decision", Kept(one["decision_id"], one["user"], one["offset"], one["decided_ms"], one["digest"]))
        for one in read(run, number, "decisions")
    )
    outcomes = (
        ("outcome", Kept(one["outcome_id"], one["user"], one["offset"], one["event_time_ms"], one["digest"]))
        for one in read(run, number, "outcomes")
    )
    return heapq.merge(decisions, outcomes, key=lambda one: one[1].offset)

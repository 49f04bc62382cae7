"""Makes a run's manifest, and brings a run to its end: its partitions shared out among processes. It writes into the run's folder alone."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from importlib.metadata import version

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from agents.step import STEP_VERSION
from deploy.cut import cut
from deploy.folding import BeginningGone, Journal
from deploy.journal import whole_journal
from deploy.replay.fold import fold_part, journal_of
from deploy.replay.manifest import Manifest, Run, RunError
from deploy.replay.other import Other
from deploy.shares import in_processes
from deploy.snapshots import begins
from deploy.stack.running import RunningStack
from deploy.stack.topics import admin
from streams.clock import clock_ms
from tables.snapshots import Snapshot, beginning

TIMEOUT_S = 30.0


async def planned(
    stack: RunningStack,
    name: str,
    *,
    since: int | str,
    until: int | str,
    partitions: tuple[int, ...] = (),
    users: tuple[str, ...] = (),
    policy: str = "",
    rate: float = 0.0,
) -> Manifest:
    """Freeze what a run depends on. `since`, `until`: an offset, or a time as `@MILLISECONDS`; `until` is never past what the workers have taken.

    Raises RunError, BeginningGone where nothing that is left leads up to the start, and NotSettled.
    """
    cluster = stack.cluster
    ends = await cut(cluster)
    numbers = partitions or tuple(sorted(ends))
    if strange := [number for number in numbers if number not in ends]:
        raise RunError(f"there is no partition {strange[0]}: there are {len(ends)}, from 0 on")
    journal = await whole_journal(stack)
    if policy:
        Other(policy, journal.versions)
    lows = await begins(cluster, numbers)
    first, last = await _offsets(stack, since, numbers), await _offsets(stack, until, numbers)
    start, end, begin = {}, {}, {}
    for number in numbers:
        end[number] = min(last.get(number, ends[number]), ends[number])
        start[number] = min(max(first.get(number, end[number]), lows[number]), end[number])
        found = _begin(stack, journal, number, start[number], lows[number])
        if found is not None:
            begin[number] = f"{found.offset}:{found.path}"
    return Manifest(
        name,
        journal.topic_id.hex(),
        start,
        end,
        begin,
        step_version=STEP_VERSION,
        build=version("oo-recommender"),
        policy=policy,
        users=users,
        rate=rate,
        created_ms=clock_ms(),
    )


def _begin(stack: RunningStack, journal: Journal, number: int, start: int, low: int) -> Snapshot | None:
    """The newest verified snapshot at or before the start; None for the journal's beginning."""
    some = [] if stack.snapshots_dir is None else stack.snapshots(journal.topic_id).all(number)
    found = beginning([one for one in some if one.offset + 1 <= start], low=low, newest=True)
    if found is None and low:
        raise BeginningGone(
            f"partition {number} of the journal begins at offset {low}, and no verified row snapshot lies between there and {start}: "
            "start later, or see 'oo snapshots'"
        )
    return found


async def _offsets(stack: RunningStack, at: int | str, numbers: tuple[int, ...]) -> dict[int, int]:
    """By partition; those that have nothing so late are not in it."""
    if isinstance(at, int):
        return dict.fromkeys(numbers, at)
    name, spec = stack.cluster.name("journal"), OffsetSpec.for_timestamp(int(at.removeprefix("@")))
    # Kept in a name: an answer whose client is forgotten never comes.
    client = admin(stack.cluster)
    asked = client.list_offsets({TopicPartition(name, number): spec for number in numbers})
    found = {place.partition: (await asyncio.to_thread(one.result, TIMEOUT_S)).offset for place, one in asked.items()}
    return {number: offset for number, offset in found.items() if offset >= 0}


async def bring_to_end(
    stack: RunningStack, run: Run, *, progress: Callable[[int], None], processes: int = os.cpu_count() or 1
) -> Mapping[str, int]:
    """Fold what is left of a run; returns what was done. Raises RunError where another process is at it, or the journal is another one."""
    manifest, done = run.manifest(), run.folder / "done.json"
    with run.held():
        if not done.exists():
            journal = journal_of(manifest, await whole_journal(stack))
            if journal.topic_id.hex() != manifest.journal_id:
                raise RunError(f"{run.name} is of another journal than this stack has now")
            if manifest.step_version != STEP_VERSION:
                raise RunError(
                    f"{run.name} was begun by a build of step version {manifest.step_version}: end it with that one"
                )
            work, records = partial(fold_part, run), 0
            async with aclosing(
                in_processes(work, journal, manifest.end, processes=processes, progress=progress)
            ) as parts:
                async for folded in parts:
                    records += folded
            unfinished = done.with_suffix(".part")
            unfinished.write_text(json.dumps({"folded": records, "ended_ms": clock_ms()}))
            unfinished.rename(done)
    said: dict[str, int] = json.loads(done.read_text())
    return said

"""Makes a run's manifest, and brings a run to its end: its partitions shared out among processes. It writes into the run's folder alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from agents.step import STEP_VERSION
from deploy.cut import cut
from deploy.folding import BeginningGone, Journal, folded, keys_of
from deploy.journal import whole_journal
from deploy.replay.fold import fold_part, journal_of, said_by
from deploy.replay.manifest import Manifest, Run, RunError, runs
from deploy.replay.other import Other
from deploy.shares import in_processes, share_out, worth
from deploy.snapshots import begins
from deploy.stack.groups import view
from deploy.stack.running import RunningStack
from deploy.stack.stalls import READERS
from deploy.stack.topics import admin
from streams.clock import clock_ms
from streams.cluster import Cluster
from tables.snapshots import Snapshot, beginning

TIMEOUT_S = 30.0
LAG_EVERY_S = 2.0
TELLING = 2_000
"""Records by which a rate is told."""
TRIED_S = 3.0


async def planned(
    stack: RunningStack,
    name: str,
    *,
    since: int | str,
    until: int | str,
    partitions: tuple[int, ...] = (),
    users: tuple[str, ...] = (),
    policy: str = "",
    settings: Mapping[str, int] = MappingProxyType({}),
    rate: float = 0.0,
    lag_max: int = 0,
    topics: bool = False,
) -> Manifest:
    """Freeze what a run depends on. `since`, `until`: an offset, or a time as `@MILLISECONDS`; `until` is never past what the workers have taken.

    Raises RunError, BeginningGone where nothing that is left leads up to the start, and NotSettled.
    """
    if topics and (policy or settings):
        raise RunError(
            "an evaluation follows the log's own decisions, which stand in topics already: --topics goes without --policy and --set"
        )
    cluster = stack.cluster
    ends = await cut(cluster)
    numbers = partitions or tuple(sorted(ends))
    if strange := [number for number in numbers if number not in ends]:
        raise RunError(f"there is no partition {strange[0]}: there are {len(ends)}, from 0 on")
    journal = await whole_journal(stack)
    if policy or settings:
        Other(policy, journal.versions, settings)
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
        settings=dict(settings),
        users=users,
        rate=rate,
        lag_max=lag_max,
        topics=topics,
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


async def offsets_between(
    stack: RunningStack, since: int | str, until: int | str
) -> tuple[dict[int, int], dict[int, int]]:
    """By partition of the journal the first offset of this range and the one that is not reached, both named as `planned` takes them."""
    numbers = tuple(range(stack.cluster.topics["journal"].partitions))
    first, last = await _offsets(stack, since, numbers), await _offsets(stack, until, numbers)
    return {n: first.get(n, 1 << 62) for n in numbers}, {n: last.get(n, 1 << 62) for n in numbers}


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a run will take, by what it rests on."""

    seconds: float
    records: int
    """Those that lead up to the start too."""
    rate: float
    """Records a second of one process."""
    of: str
    """What that is the rate of, in words."""


async def estimated(stack: RunningStack, manifest: Manifest, root: Path) -> Estimate:
    """Say how long this run will take: by the last run of its kind that is done in `root`, else by folding its first records now."""
    records = manifest.to_fold()
    rate, of = _rate_before(manifest, root)
    if not rate and any(records.values()):
        rate, of = await _rate_now(stack, manifest, max(records, key=records.__getitem__))
    longest = max(
        (sum(many for _, many in share) for share in share_out(records, worth(sum(records.values())))), default=0
    )
    slowest = min(one for one in (rate, manifest.rate) if one) if rate or manifest.rate else 0.0
    return Estimate(longest / slowest if slowest else 0.0, sum(records.values()), rate, of)


def _rate_before(manifest: Manifest, root: Path) -> tuple[float, str]:
    found = list[tuple[int, float, str]]()
    for run in runs(root):
        with suppress(FileNotFoundError, KeyError):
            done, before = json.loads((run.folder / "done.json").read_text()), run.manifest()
            kinds = [(bool(one.asks), bool(one.settings), bool(one.users), one.rate) for one in (before, manifest)]
            alike = kinds[0] == kinds[1] and done["folded"] >= TELLING
            if alike:
                found.append((done["ended_ms"], done["folded"] / done["seconds"] / done["processes"], run.name))
    _, rate, name = max(found, default=(0, 0.0, ""))
    return rate, f"the run {name}"


async def _rate_now(stack: RunningStack, manifest: Manifest, number: int) -> tuple[float, str]:
    journal = journal_of(manifest, await whole_journal(stack))
    keys, begin, users = await keys_of(journal, number), journal.snapshots.get(number), set(manifest.users) or None
    other = Other(manifest.policy, journal.versions, manifest.settings) if manifest.asks else None
    began, records = None, 0
    async for one in folded(journal, number, keys=keys, end=manifest.end[number], begin=begin, users=users):
        if other is not None:
            said_by(other, one)
        if began is None:  # The first one pays for what is made once.
            began = time.monotonic(), one.entry.offset
        # Those that are passed over are read too.
        records = one.entry.offset - began[1]
        if records >= TELLING or time.monotonic() - began[0] > TRIED_S:
            break
    if began is None or not records:
        return 0.0, "nothing"
    return records / (time.monotonic() - began[0]), f"{records} records folded now"


async def bring_to_end(
    stack: RunningStack, run: Run, *, progress: Callable[[int], None], processes: int | None = None
) -> Mapping[str, float]:
    """Fold what is left of a run, by default in as many processes as are worth it; returns what was done. Raises RunError where another process is at it, or the journal is another one."""
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
            work, records, began_s = partial(fold_part, run), 0, time.monotonic()
            processes = processes or worth(sum(manifest.to_fold(folded=run.folded()).values()))
            async with (
                _yielding(stack, run, manifest.lag_max),
                aclosing(in_processes(work, journal, manifest.end, processes=processes, progress=progress)) as parts,
            ):
                async for part in parts:
                    records += part
            took = {"seconds": time.monotonic() - began_s, "processes": min(processes, len(manifest.end))}
            unfinished = done.with_suffix(".part")
            unfinished.write_text(json.dumps({"folded": records, "ended_ms": clock_ms(), **took}))
            unfinished.rename(done)
    said: dict[str, float] = json.loads(done.read_text())
    return said


@asynccontextmanager
async def _yielding(stack: RunningStack, run: Run, lag_max: int) -> AsyncIterator[None]:
    """Meanwhile let the run wait while a live group is further behind than that, also before it begins; 0: never."""
    run.yielding_file.unlink(missing_ok=True)  # Of one that was killed.
    watching = None
    if lag_max:
        await _look(stack, run, lag_max)
        watching = asyncio.create_task(_watch(stack, run, lag_max))
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        run.yielding_file.unlink(missing_ok=True)


async def _watch(stack: RunningStack, run: Run, lag_max: int) -> None:
    while True:
        await asyncio.sleep(LAG_EVERY_S)
        await _look(stack, run, lag_max)


async def _look(stack: RunningStack, run: Run, lag_max: int) -> None:
    # Whoever cannot be asked is given room too.
    lag = lag_max + 1
    with suppress(Exception):
        lag = await asyncio.to_thread(live_lag, stack.cluster)
    if lag > lag_max:
        run.yielding_file.touch()
    else:
        run.yielding_file.unlink(missing_ok=True)


def live_lag(cluster: Cluster) -> int:
    """How many records the live group that is furthest behind has yet to take of what it reads. Blocks; raises KafkaException."""
    seen, lags = view(cluster), Counter[str]()
    for short, process in READERS.items():
        group, topic = cluster.group(process), cluster.name(short)
        lags[process] += seen.lag(group, tuple(one for one in seen.committed.get(group, {}) if one[0] == topic))
    return max(lags.values())

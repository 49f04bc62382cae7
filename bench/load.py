"""Load: what a stack on this machine bears while every group keeps up, and who spends the processor on it.

Signals of new people at a steady rate, as in bench/freshness.py, for long enough that a queue would show; beside it, at the
same rate, the bare three-hop loop. Then a second task of each of them: who is known has a key, a row and a tip. Processor time is
that of each process with all its threads and children. Batches are counted where they stand, in the broker's log: Kafka pays by the
batch of one topic and partition. It never changes what it measures.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from bench.arrivals import Writer
from bench.freshness import (
    PEERS,
    Latencies,
    Side,
    announcements,
    bare_loop,
    bare_record,
    first_task,
    names_of,
    paced,
    second_task,
)
from bench.result import Bench, Result, Row, compared
from deploy.stack import groups
from deploy.stack.running import RunningStack
from streams.schemas import Schemas

RATES = (500, 1_000)
LONG_RATES = (500, 1_000, 1_500)
SECONDS, LONG_SECONDS = 20.0, 120.0
"""Of a rate; the longer one with `--long`."""
BARE_S = 10.0
WARM_S = 4.0
BACKLOG = 6_000
FULL = 0.85
"""Of the cores, at most: what is left is for waits that are no queue."""
P50_MS_MAX = 20.0
GOALS = {50.0: 4.0, 99.0: 6.0}
"""At 500/s: percentile -> how many times the bare loop's, at most."""
HEADER_BYTES = 61
"""Of a batch in Kafka's log."""


@dataclass(slots=True)
class Turn:
    """What some time at one rate gave."""

    signals: int
    seconds: float
    latencies: Latencies
    spent_us: Counter[str]
    """Processor time of a signal, by process."""
    batches: Counter[str]
    """By topic."""
    records: int
    lags: dict[str, int]
    """By group, when the last signal had been written. The shadow is none: nobody waits for it."""


@dataclass(slots=True)
class Found:
    """One rate: ours, and the bare loop's."""

    ours: Turn
    known: Turn
    """The same people again."""
    peer: Turn


def measure(bench: Bench) -> Result:
    """Each rate in turn, then a backlog."""
    with bench.stack(nameless=True) as stack:
        found, backlog = uvloop.run(_measure(stack, bench))
    rows = [row for rate, one in found.items() for row in _rows(rate, one)]
    slow = found[RATES[0]].ours
    rows.append(
        compared(
            "load-core-500",
            f"the core's processor time of a signal at {RATES[0]}/s",
            slow.spent_us["core"],
            "µs",
            peer=backlog.spent_us["core"],
            peer_name=f"a backlog of {backlog.signals:,} such signals",
            at_most=1.5,
        )
    )
    return Result(rows)


def _rows(rate: int, found: Found) -> list[Row]:
    ours, known, peer = found.ours, found.known, found.peer
    p50, p99 = (ours.latencies.percentile(percent) for percent in GOALS)
    what = f"{rate}/s for {ours.seconds:.0f} s"
    lags = ", ".join(f"{group} {lag:,}" for group, lag in sorted(ours.lags.items()))
    rows = [
        compared(
            f"load-{rate}-p{percent:g}",
            f"signal acknowledged to tip in Valkey, p{percent:g} at {what}",
            value,
            "ms",
            peer=peer.latencies.percentile(percent),
            peer_name=PEERS["aiokafka"],
            at_most=GOALS[percent] if rate == RATES[0] else None,
            note=f"{ours.latencies.missing} tips never came." if ours.latencies.missing else "",
        )
        for percent, value in zip(GOALS, (p50, p99), strict=True)
    ]
    rows += [
        compared(
            f"load-{rate}-known-p{percent:g}",
            f"the same of people who are known, p{percent:g} at {rate}/s for {known.seconds:.0f} s",
            known.latencies.percentile(percent),
            "ms",
            peer=peer.latencies.percentile(percent),
            peer_name=PEERS["aiokafka"],
            note=f"Of {known.latencies.missing} the tip stayed as it was." if known.latencies.missing else "",
        )
        for percent in GOALS
    ]
    return [
        *rows,
        compared(
            f"load-{rate}-known-spent",
            f"processor time of a signal of somebody known, all processes, at {rate}/s",
            known.spent_us.total(),
            "µs",
            peer=ours.spent_us.total(),
            peer_name="of somebody new",
            note=f"Of somebody known, in µs: {_shares(known)}.",
        ),
        compared(
            f"load-{rate}-20ms",
            f"p50 at {what}",
            p50,
            "ms",
            peer=P50_MS_MAX,
            peer_name="the goal",
            at_most=1.0 if rate == RATES[1] else None,
        ),
        compared(
            f"load-{rate}-spent",
            f"processor time of a signal, all processes, at {what}",
            ours.spent_us.total(),
            "µs",
            peer=FULL * (os.cpu_count() or 1) * 1e6 / rate,
            peer_name=f"{os.cpu_count()} cores, {FULL:.0%} full",
            at_most=1.0,
            note=f"At {rate}/s a signal took, in µs: {_shares(ours)}. Records that groups had yet to commit at the end: {lags}.",
        ),
        compared(
            f"load-{rate}-lag",
            f"records behind at the end of {what}, the group that is furthest",
            max(ours.lags.values(), default=0),
            "records",
            peer=float(rate),
            peer_name="one second's signals",
            at_most=1.0,
        ),
        compared(
            f"load-{rate}-batches",
            f"batches a second in the broker's log at {what}",
            ours.batches.total() / ours.seconds,
            "/s",
            peer=ours.records / ours.seconds,
            peer_name="records a second",
            note="Batches of a signal: "
            + ", ".join(f"{topic} {n / ours.signals:.2f}" for topic, n in ours.batches.most_common(8))
            + ".",
        ),
        compared(
            f"load-{rate}-broker",
            f"the broker's processor time of a signal at {what}",
            ours.spent_us["kafka"],
            "µs",
            peer=peer.spent_us["kafka"],
            peer_name=f"{PEERS['aiokafka']}, {peer.batches.total() / peer.signals:.1f} batches a signal",
        ),
    ]


def _shares(turn: Turn) -> str:
    return ", ".join(f"{name} {us:,.0f}" for name, us in turn.spent_us.most_common() if us >= 1)


async def _measure(stack: RunningStack, bench: Bench) -> tuple[dict[int, Found], Turn]:
    schemas = Schemas(stack.cluster)
    await schemas.register()
    writer = Writer(stack.cluster.bootstrap)
    seconds = (LONG_SECONDS if bench.long else SECONDS) / (10 if bench.quick else 1)
    found: dict[int, Found] = {}
    async with AsyncExitStack() as open_things:
        tips = await open_things.enter_async_context(announcements(stack))
        side, again = Side(tips, first_task(stack, schemas)), Side(tips, second_task(stack, schemas))
        for rate in LONG_RATES if bench.long else RATES:
            # The loop is there only while it is measured: also idle it would take some of the processor.
            async with bare_loop(stack, "aiokafka") as (watch, topic):
                bare = names_of(rate * min(seconds, BARE_S))
                peer = await _turn(stack, writer, Side(watch, bare_record(topic)), bare, rate=rate)
            people = names_of(rate * seconds)
            ours = await _turn(stack, writer, side, people, rate=rate)
            known = await _turn(stack, writer, again, people, rate=rate)
            found[rate] = Found(ours, known, peer)
            bench.say(f"{rate}/s: p50 {ours.latencies.percentile(50):.1f} ms, {ours.spent_us.total():,.0f} µs a signal")
        many = names_of(BACKLOG / (10 if bench.quick else 1))
        backlog = await _turn(stack, writer, side, many, rate=1_000_000)
    writer.close()
    return found, backlog


async def _turn(stack: RunningStack, writer: Writer, side: Side, names: Sequence[str], *, rate: int) -> Turn:
    seconds = len(names) / rate
    await paced(writer, side, rate=min(rate, 1_000), names=names_of(min(rate, 1_000) * min(WARM_S, seconds)))
    side.watch.clear()
    parts = parts_of(stack)
    before, written, mine_s, began_s = spent(parts), _log(stack.folder.data("kafka")), time.process_time(), time.time()
    looking = asyncio.create_task(_lags_after(stack, seconds))
    first_s = await paced(writer, side, rate=rate, names=names)
    took_s = time.time() - began_s
    after = spent(parts)
    after["the writer"] = time.process_time() - mine_s
    batches, records = _log(stack.folder.data("kafka"))
    latencies = Latencies()
    latencies.add(side.watch, names, began_s=first_s)
    side.watch.clear()
    after.subtract(before)
    batches.subtract(written[0])
    return Turn(
        len(names),
        took_s,
        latencies,
        Counter({name: spent_s / len(names) * 1e6 for name, spent_s in after.items()}),  # type: ignore[misc]
        +batches,
        records - written[1],
        await looking,
    )


def parts_of(stack: RunningStack) -> Mapping[str, Sequence[psutil.Process]]:
    """The stack's processes by part, workers of one kind together; PostgreSQL's own children with it."""
    state = stack.folder.read()
    assert state is not None
    pids = {name: part["pid"] for name, part in state["parts"].items() if part["pid"] is not None}
    parts: dict[str, list[psutil.Process]] = {}
    for name, pid in pids.items():
        process = psutil.Process(pid)
        children = process.children(recursive=True) if name == "postgres" else []
        parts.setdefault(name.split("-")[0], []).extend([process, *children])
    return parts


def spent(parts: Mapping[str, Sequence[psutil.Process]]) -> Counter[str]:
    """Processor seconds so far, user and system."""
    spent: Counter[str] = Counter()
    for name, processes in parts.items():
        for process in processes:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            spent[name] += times.user + times.system  # type: ignore[assignment]
    return spent


def _log(folder: Path) -> tuple[Counter[str], int]:
    """How many batches stand in each topic's log, and how many records in all of them."""
    batches: Counter[str] = Counter()
    records = 0
    for file in folder.glob("logs/*-*/*.log"):
        topic = file.parent.name.rpartition("-")[0]
        with file.open("rb") as log:
            while len(header := log.read(HEADER_BYTES)) == HEADER_BYTES:
                batches[topic] += 1
                records += int.from_bytes(header[57:61], "big")
                log.seek(int.from_bytes(header[8:12], "big") + 12 - HEADER_BYTES, os.SEEK_CUR)
    return batches, records


async def _lags_after(stack: RunningStack, seconds: float) -> dict[str, int]:
    await asyncio.sleep(seconds)
    return await asyncio.to_thread(_lags, stack)


def _lags(stack: RunningStack) -> dict[str, int]:
    view = groups.view(stack.cluster)
    return {
        group: view.lag(group, tuple(place for place in view.offsets if place in done))
        for group, done in view.committed.items()
        if group.startswith(stack.cluster.group(""))
    }

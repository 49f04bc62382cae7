"""Throughput: the same context fold on oO's engine, on Quix Streams and on stock Faust, one process each.

Every engine reads the same topic from its beginning, updates a person's row (a protobuf message that counts reactions
by kind and time) for each event, and writes it to a changelog, at least once. They run one after the other against the
same broker, the broker's processor time apart, and each one's rows are read back from its changelog and compared with
a plain count: nobody is fast by losing something.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Producer as PlainProducer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.peers.fold import WIDTH_S, fold
from bench.result import Bench, Result, Row, compared
from oo.v1 import reaction_pb2, row_pb2
from streams.cluster import Cluster
from streams.reader import committed, end_offsets, read_partition
from streams.topics import PARTITIONS

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(__file__).with_name("peers")
USERS = 1_000
EVENTS = 400_000
EVENTS_STOCK = 40_000
"""Stock Faust reads the beginning of the same topic only: its rate is measured, not our patience."""
START_S = 1_790_000_000
SPAN_S = 2 * 24 * 3600
TURNS = 2
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Engine:
    """How one is started, and what it was told beside what all are told."""

    name: str
    script: Path
    settings: Mapping[str, object]


_TUNED = {"linger_ms": 2, "poll_records_max": 2_000}
OURS = Engine("oO", Path(__file__).with_name("engine.py"), {**_TUNED, "store": "rocksdb"})
MEMORY = Engine("oO in memory", OURS.script, {**_TUNED, "store": "memory"})
QUIX = Engine("Quix Streams", PEERS / "quix.py", {"commit_interval_s": 5.0})
STOCK = Engine("stock Faust", PEERS / "stock.py", {"commit_interval_s": 2.8, "linger_s": 0.005})


@dataclass(frozen=True, slots=True)
class Rate:
    """Events a second: of the process's processor time (all its threads), and of wall time."""

    per_core_s: float
    per_wall_s: float


Tally = Counter[tuple[bytes, int]]
"""(user, window key) -> events."""
Event = tuple[bytes, int, bytes]
"""User, window key, message."""


def measure(bench: Bench) -> Result:
    """Events per second and core of the three, each the best of its turns."""
    python = peers_python(bench)
    more = EVENTS_STOCK // 10 if bench.quick else EVENTS_STOCK
    total = EVENTS // 10 if bench.quick else EVENTS
    rates: dict[str, list[Rate]] = {}
    with bench.stack(servers_only=True) as stack:
        source = f"bench.{uuid.uuid4().hex[:8]}"
        _create(stack.cluster.bootstrap, source, compacted=False)
        events = _events(total)
        expected: Tally = Counter()
        turns = 1 if bench.quick else TURNS
        for upto, engines in ((more, [STOCK]), (total, [QUIX, OURS, MEMORY])):
            _produce(stack.cluster.bootstrap, source, events[sum(expected.values()) : upto], expected)
            for turn in range(turns):
                for engine in engines:
                    folder = bench.scratch / f"{engine.name}-{turn}"
                    rate = _run(engine, python, stack.cluster.bootstrap, source, folder, expected)
                    bench.say(f"{engine.name}: {rate.per_core_s:,.0f} per core-second, {rate.per_wall_s:,.0f}/s")
                    rates.setdefault(engine.name, []).append(rate)
    best = {name: max(found, key=lambda rate: rate.per_core_s) for name, found in rates.items()}
    return Result(list(_rows(best, fold_us=_fold_us(events))))


def _rows(rates: Mapping[str, Rate], *, fold_us: float) -> Iterator[Row]:
    ours, in_memory = rates[OURS.name], rates[MEMORY.name]
    note = (
        f"Of {1e6 / ours.per_core_s:.1f} µs of processor time per event, the fold itself, the same for all, takes "
        f"{fold_us:.1f}; the rest is mostly taking records out of the fetched batches, and one produce, one RocksDB write "
        f"and one look at the changelog per person and batch. Kept in memory instead: {in_memory.per_core_s:,.0f} per "
        "core-second. oO reads up to 2,000 records of a partition at a time, lingers 2 ms and commits every 0.5 s; Quix "
        "Streams checkpoints every 5 s (its default), its other settings are its defaults; stock Faust "
        "lingers 5 ms and commits every 2.8 s (its default), its RocksDB table is rocksdict. The broker's time is not "
        f"counted. Stock Faust reads the first {EVENTS_STOCK:,} of the {EVENTS:,} events."
    )
    what = f"context fold with a changelog, {USERS:,} people, {PARTITIONS} partitions"
    for engine, goal in ((QUIX, 2.0), (STOCK, 15.0)):
        peer = rates[engine.name]
        yield compared(
            f"throughput-{engine.script.stem}",
            f"{what}: events per core-second",
            ours.per_core_s,
            "/s",
            peer=peer.per_core_s,
            peer_name=engine.name,
            at_least=goal,
            note=note,
        )
        yield compared(
            f"throughput-wall-{engine.script.stem}",
            "the same per second of wall time, one process",
            ours.per_wall_s,
            "/s",
            peer=peer.per_wall_s,
            peer_name=engine.name,
        )


def _fold_us(events: list[Event]) -> float:
    """Processor time of the fold alone, per event."""
    rows: dict[bytes, row_pb2.UserRow] = {}
    began_s = time.process_time()
    for offset, (user, _, value) in enumerate(events):
        fold(rows.setdefault(user, row_pb2.UserRow()), value, offset=offset)
    return (time.process_time() - began_s) / len(events) * 1e6


def peers_python(bench: Bench) -> Path:
    """The interpreter of the peers' own environment, which is made from their lock on first use."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oo-bench-peers"
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    bench.say(f"peers: {cache}")
    done = subprocess.run(
        (uv, "sync", "--quiet", "--frozen", f"--project={PEERS}", f"--python={sys.executable}"),
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the peers cannot be installed (their first use needs a package index): {done.stderr[-500:]}")
    return cache / "bin" / "python"


def _run(engine: Engine, python: Path, bootstrap: str, source: str, folder: Path, expected: Tally) -> Rate:
    group = f"{engine.script.stem}-{uuid.uuid4().hex[:8]}"
    changelog = {
        OURS.name: f"{group}-rows",
        MEMORY.name: f"{group}-rows",
        QUIX.name: f"changelog__{group}--{source}--default",
        STOCK.name: f"{group}-rows-changelog",
    }[engine.name]
    if engine.script is OURS.script:
        _create(bootstrap, changelog, compacted=True)
    total = sum(expected.values())
    orders = {
        "bootstrap": bootstrap,
        "group": group,
        "source": source,
        "changelog": changelog,
        "folder": str(folder),
        "events": total,
        "partitions": PARTITIONS,
        **engine.settings,
    }
    folder.mkdir()
    paths = (ROOT, ROOT / "proto" / "gen") if engine.script is OURS.script else (ROOT / "proto" / "gen",)
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            (sys.executable if engine.script is OURS.script else python, engine.script, json.dumps(orders)),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, paths))},
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            timeout=TIMEOUT_S,
            check=False,
        )
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    if [one["what"] for one in said] != ["begun", "done"]:
        raise SystemExit(f"{engine.name} did not end well: {(folder / 'log').read_text()[-2000:]}")
    asyncio.run(_check(engine, bootstrap, group, source, changelog, expected))
    begun, ended = said
    return Rate(total / (ended["cpu_s"] - begun["cpu_s"]), total / (ended["wall_s"] - begun["wall_s"]))


async def _check(engine: Engine, bootstrap: str, group: str, source: str, changelog: str, expected: Tally) -> None:
    """The changelog's last rows hold each event once, and everything is committed."""
    ends = await end_offsets(Cluster(bootstrap), source)
    if (found := await committed(Cluster(bootstrap), group, source)) != ends:
        raise SystemExit(f"{engine.name} committed {found} of {ends}")
    rows: dict[bytes, bytes] = {}
    for partition in range(PARTITIONS):
        async for records in read_partition(Cluster(bootstrap), changelog, partition):
            rows.update({record.key: record.value for record in records if record.key and record.value})
    tally: Tally = Counter()
    for value in rows.values():
        row = row_pb2.UserRow.FromString(value)
        at = 0
        for step, count in zip(row.windows[0].key_steps, row.windows[0].counts, strict=True):
            at += step
            tally[row.user_id.encode(), at] += count
    if tally != expected:
        raise SystemExit(
            f"{engine.name} counted {sum(tally.values())} of {sum(expected.values())} events, or elsewhere"
        )


def _events(number: int) -> list[Event]:
    """In the order of event time."""
    chance = random.Random(1)
    events = []
    for index in range(number):
        user = f"user-{chance.randrange(USERS):05}"
        second, kind = START_S + index * SPAN_S // number, chance.randrange(1, 5)
        reaction = reaction_pb2.Reaction(
            event_id=f"{index:032x}", user_id=user, decision_id=f"{index:040x}", kind=kind, source="bench"
        )
        reaction.event_time.seconds = second
        events.append((user.encode(), (second // WIDTH_S) << 10 | kind << 6, reaction.SerializeToString()))
    return events


def _produce(bootstrap: str, topic: str, events: list[Event], expected: Tally) -> None:
    producer = PlainProducer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    for user, key, value in events:
        producer.produce(topic, value, user)
        expected[user, key] += 1
    assert producer.flush(60) == 0


def _create(bootstrap: str, name: str, *, compacted: bool) -> None:
    config = {"cleanup.policy": "compact"} if compacted else {}
    admin = AdminClient({"bootstrap.servers": bootstrap})  # Kept in a name: its answers die with it.
    admin.create_topics([NewTopic(name, PARTITIONS, 1, config=config)])[name].result(30)

"""Size: what people cost in memory, on disk and per event, as they become many; one worker with eight partitions.

Each size runs in a process of its own, with its own code from journal record to store: `step`, the row's bytes, the
store's write, the heads and the timers. Kafka is left out: the changelog's produce costs the same at every size.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from agents.fold import PartitionState
from agents.rows import TableRows, head, order_in, wake_of
from agents.step import Entry
from agents.timers import Timers
from bench.population import Population, header, population, user_id
from bench.result import Bench, Plot, Result, Row, compared
from oo.v1 import row_pb2
from streams.keys import Keys
from streams.producer import Delivered
from tables.rocks import Rocks
from tables.store import MemoryStore, Store
from tables.table import Table
from tests.agents.build import JOURNAL_ID, Payload, active, current_id, entry, reaction, task
from tests.sealed import give, keys_in

ROOT = Path(__file__).resolve().parents[1]
PARTITIONS = 8
USERS = {"rocksdb": (10_000, 100_000, 1_000_000), "memory": (10_000, 100_000)}
ROUNDS = 10
EVENTS = 800
"""Of one round."""
BATCH = 50
AHEAD_MS = 3_600_000
LOADED_AT_ONCE = 500
GOAL_BYTES = 2_000
OFFSET = 10_000_000
"""Of the first event: behind all rows."""


def measure(bench: Bench) -> Result:
    """Bytes a user and cost an event at each size; the cost at 1 million beside the cost at 10 thousand."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    (bench.scratch / "people").write_bytes(pickle.dumps(population()))
    for store, sizes in USERS.items():
        for users in sizes:
            count = users // 10 if bench.quick else users
            folder = bench.scratch / f"{store}-{users}"
            orders = {
                "store": store,
                "users": count,
                "rounds": 3 if bench.quick else ROUNDS,
                "folder": str(folder),
                "people": str(bench.scratch / "people"),
            }
            child = subprocess.run(
                (sys.executable, "-m", "bench.size", json.dumps(orders)),
                cwd=ROOT,
                check=True,
                stdout=subprocess.PIPE,
            )
            found[store, count] = json.loads(child.stdout)
            shutil.rmtree(folder, ignore_errors=True)
            one = found[store, count]
            bench.say(
                f"{store}, {count:,} people: {one['resident'] / count:,.0f} bytes resident and {one['disk'] / count:,.0f} on "
                f"disk each, {one['event_us']:.0f} µs of processor an event, of which the store {one['store_us']:.0f}"
            )
    return Result(list(_rows(found)), _plots(found))


def _rows(found: dict[tuple[str, int], dict[str, float]]) -> Iterator[Row]:
    sizes = sorted(users for store, users in found if store == "rocksdb")
    small, large = found["rocksdb", sizes[0]], found["rocksdb", sizes[-1]]
    mean = population().mean_bytes
    yield compared(
        "cost",
        f"processor time of an event with {sizes[-1]:,} people, RocksDB",
        large["event_us"],
        "µs",
        peer=small["event_us"],
        peer_name=f"{sizes[0]:,} people",
        at_most=1.3,
        note=f"Random people, {BATCH} records a batch, RocksDB's own threads counted in. Of it the store alone: "
        f"{small['store_us']:.0f} µs with {sizes[0]:,} people, {large['store_us']:.0f} µs with {sizes[-1]:,}.",
    )
    for users in sizes:
        one = found["rocksdb", users]
        yield compared(
            f"resident-{users}",
            f"resident memory a person, RocksDB, {users:,} people",
            one["resident"] / users,
            "bytes",
            peer=GOAL_BYTES,
            peer_name="the goal",
            at_most=1.0 if users == sizes[-1] else None,
            note=f"The whole process, of which {one['empty'] / 1e6:.0f} MB before the first row; rows have {mean:,.0f} "
            f"bytes in the mean. On disk {one['disk'] / users:,.0f} bytes a person after {one['events']:,.0f} events.",
        )
    for store, users in sorted(found):
        if store == "memory":
            one = found[store, users]
            yield compared(
                f"memory-{users}",
                f"resident memory a person, rows in memory, {users:,} people",
                one["resident"] / users,
                "bytes",
                peer=found["rocksdb", users]["resident"] / users,
                peer_name="RocksDB",
                note=f"{one['event_us']:.0f} µs an event, with RocksDB {found['rocksdb', users]['event_us']:.0f} µs.",
            )


def _plots(found: dict[tuple[str, int], dict[str, float]]) -> list[Plot]:
    def curve(store: str, of: Callable[[int, dict[str, float]], float]) -> tuple[list[float], list[float]]:
        sizes = sorted(users for name, users in found if name == store)
        return [float(users) for users in sizes], [of(users, found[store, users]) for users in sizes]

    return [
        Plot(
            "size",
            "Bytes a person",
            "people of one worker",
            "bytes",
            {
                "resident, RocksDB": curve("rocksdb", lambda users, one: one["resident"] / users),
                "on disk, RocksDB": curve("rocksdb", lambda users, one: one["disk"] / users),
                "resident, in memory": curve("memory", lambda users, one: one["resident"] / users),
            },
            x_scale="log",
            y_scale="log",
        ),
        Plot(
            "size-cost",
            "Processor time an event",
            "people of one worker",
            "µs",
            {
                "all, RocksDB": curve("rocksdb", lambda _, one: one["event_us"]),
                "the store, RocksDB": curve("rocksdb", lambda _, one: one["store_us"]),
                "all, in memory": curve("memory", lambda _, one: one["event_us"]),
            },
            x_scale="log",
        ),
    ]


# In a process of its own


class _Live(NamedTuple):
    state: PartitionState
    table: Table
    rows: _Timed
    timers: Timers
    keys: Keys


def nowhere(_key: bytes, _value: bytes) -> asyncio.Future[Delivered]:
    raise AssertionError("Kafka is left out")


def main() -> None:
    orders = json.loads(sys.argv[1])
    users, folder = orders["users"], Path(orders["folder"])
    people: Population = pickle.loads(Path(orders["people"]).read_bytes())
    disks = Rocks(folder, identity=b"bench", head=head)
    process = psutil.Process()
    empty = process.memory_info().rss
    keys = keys_in(folder.with_name(f"{folder.name}-kek"))
    lives = [
        _live(disks.open(n) if orders["store"] == "rocksdb" else MemoryStore(head=head), keys)
        for n in range(PARTITIONS)
    ]
    front, values = header(), dict[bytes, bytes]()
    for number in range(PARTITIONS):
        # Person n is in partition n modulo 8.
        store = lives[number].table.store
        for user, message in people.rows(users // PARTITIONS, first=number * (users // PARTITIONS)):
            values[user] = front + message
            if len(values) == LOADED_AT_ONCE:
                store.load(values)
                values = {}
        store.load(values)
        values = {}
        store.write({}, checkpoint=0)
        while store.move_loaded(LOADED_AT_ONCE):
            pass
        _look_over(lives[number], until_ms=people.now_ms + AHEAD_MS)
    chance = random.Random(1)
    rounds = [_fold(lives, people, users, chance, first=number * EVENTS) for number in range(orders["rounds"] + 1)]
    # The first one warms up; the middle one stands for the others.
    event_us, store_us = (median(costs) for costs in zip(*rounds[1:], strict=True))
    found = {
        "empty": empty,
        "resident": process.memory_info().rss,
        "disk": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.exists() else 0,
        "event_us": event_us,
        "store_us": store_us,
        "events": len(rounds) * EVENTS,
    }
    os.write(1, json.dumps(found).encode())


class _Timed(TableRows):
    """Counts this thread's time in the store."""

    store_s = 0.0

    def get(self, user_id: str) -> bytes | None:
        began_s = time.thread_time()
        found = super().get(user_id)
        self.store_s += time.thread_time() - began_s
        return found


def _live(store: Store, keys: Keys) -> _Live:
    table = Table(store, head=head, order=order_in(JOURNAL_ID), produce=nowhere)
    rows = _Timed(table, header=header(), keys=keys)
    return _Live(PartitionState(partition=0, versions={"": active()}, rows=rows), table, rows, Timers(), keys)


def _look_over(live: _Live, *, until_ms: int) -> None:
    live.timers.until_ms = until_ms
    for key, front in live.table.store.scan():
        if wake_of(front) <= until_ms:
            live.timers.set(key.decode(), wake_ms=wake_of(front))


def _fold(
    lives: list[_Live], people: Population, users: int, chance: random.Random, *, first: int
) -> tuple[float, float]:
    """Processor microseconds an event of a round: of all threads, and of that the store with its own threads."""
    each, total_s, store_s = users // PARTITIONS, 0.0, 0.0
    for at in range(0, EVENTS, BATCH):
        number = at // BATCH % PARTITIONS
        live = lives[number]
        entries = [_entry(people, number * each + chance.randrange(each), first + at + n, chance) for n in range(BATCH)]
        for one in entries:
            # Rows of before are read as they are; from their next change on they are sealed.
            if live.keys.lacks(one.user_id.encode()):
                give(live.keys, one.user_id.encode())
        live.rows.store_s = 0.0
        began_s, began_here_s = time.process_time(), time.thread_time()
        for one in entries:
            live.state.apply(one)
        changed = live.state.changed()
        live.state.acknowledge()
        live.rows.settle(dict(live.rows.framed(user, message) for user, message in changed.items()))
        committing_s = time.thread_time()
        live.table.commit()
        store_s += time.thread_time() - committing_s + live.rows.store_s
        for user, message in changed.items():
            live.timers.set(user, wake_ms=wake_of(message))
        here_s, all_s = time.thread_time() - began_here_s, time.process_time() - began_s
        total_s += all_s
        store_s += all_s - here_s
        assert len(changed) > BATCH // 2
    return total_s / EVENTS * 1e6, store_s / EVENTS * 1e6


def _entry(people: Population, person: int, number: int, chance: random.Random) -> Entry:
    """Half of them a task, half a reaction to the tip that the person has."""
    user = user_id(person).decode()
    row = row_pb2.UserRow.FromString(people.originals[person % len(people.originals)])
    payload: Payload = task(f"t{chance.randrange(5)}", title="Water the plants", user=user)
    if chance.random() < 0.5:
        payload = reaction(current_id(row), chance.choice(("SEEN", "DONE", "DISMISS")), user=user)
    return entry(payload, offset=OFFSET + number, time_ms=people.now_ms + number, user=user)


if __name__ == "__main__":
    main()

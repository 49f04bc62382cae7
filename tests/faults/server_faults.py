"""Faults of the servers that we lean on: killed, stopped, locked, emptied.

Each does its fault to a running stack while events are written, and returns when it is over. None checks the result.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from valkey import Valkey

from tests.faults.proxy import CLEAR, Weather
from tests.faults.scene import CONT, INT, KILL, STOP, Scene

MIB = 1024 * 1024
MORE_BYTES_MAX = 64 * MIB
"""What a process that waits for its server may take beyond what it had: some fetched batches of each partition."""


def kill_the_broker(scene: Scene) -> None:
    scene.stack.wait(3)
    scene.stack.kill_server("kafka")
    scene.stack.wait(1)


def stop_the_broker(scene: Scene, *, seconds: float) -> None:
    scene.stack.wait(3)
    scene.stack.signal_server("kafka", STOP)
    try:
        scene.stack.wait(seconds)
    finally:
        scene.stack.signal_server("kafka", CONT)
    scene.stack.wait(1)


def take_postgres_away(scene: Scene) -> None:
    scene.stack.wait(2)
    with scene.stack.without("postgres", INT):
        scene.stack.wait(15)


def empty_valkey(scene: Scene) -> None:
    """Killed, its files deleted; then emptied while it runs."""
    scene.stack.wait(4)
    with scene.stack.without("valkey", KILL):
        scene.stack.wait(3)
        shutil.rmtree(scene.stack.running.folder.data("valkey") / "appendonlydir", ignore_errors=True)
    scene.stack.wait(3)
    with Valkey.from_url(scene.stack.running.valkey_url) as client:
        client.flushall()
    scene.stack.wait(1)


def take_the_registry_away(scene: Scene) -> None:
    """Running workers have to go on: they catch up while it is away."""
    scene.stack.wait(2)
    with scene.stack.without("registry", KILL):
        scene.stack.wait(8)
        took_s = scene.goes_on("signals")
        scene.notes.append(f"caught up in {took_s:.1f} s while it was away")


def lock_postgres(scene: Scene) -> None:
    """A session holds every table that record writes to; tips have to go on meanwhile."""
    scene.stack.wait(3)
    with psycopg.connect(scene.stack.running.dsn("postgres")) as session, _memory(scene, "record"):
        session.execute(
            "LOCK TABLE recommender.decisions, recommender.tip_scores, recommender.outcomes IN ACCESS EXCLUSIVE MODE"
        )
        scene.stack.wait(5)
        took_s = scene.goes_on("signals", "journal", "tips")
        scene.notes.append(f"tips caught up in {took_s:.1f} s while the tables were locked")
        scene.stack.wait(max(0.0, 10 - took_s))
        waiting = scene.oracle.lag().get("decisions", 0)
        scene.notes.append(f"{waiting} decisions waited")
        session.rollback()


def slow_postgres(scene: Scene) -> None:
    """Each round trip takes seconds, through a proxy; tips have to go on, and record's memory has to be bounded."""
    scene.stack.behind_proxies()
    scene.stack.wait(2)
    proxy = scene.stack.proxies["postgres"]
    with _memory(scene, "record"):
        proxy.weather = Weather(delay_s=1.5, jitter_s=0.5)
        try:
            scene.stack.wait(15)
            took_s = scene.goes_on("signals", "journal", "tips")
            scene.notes.append(f"tips caught up in {took_s:.1f} s while PostgreSQL was slow")
            scene.notes.append(f"{scene.oracle.lag().get('decisions', 0)} decisions waited")
        finally:
            proxy.weather = CLEAR


@contextmanager
def _memory(scene: Scene, name: str) -> Iterator[None]:
    """Notes how much more memory a process takes inside the block; more than its bound is a problem."""
    worker, found, done = scene.stack.workers[name], [], threading.Event()
    found.append(worker.rss_bytes())

    def look() -> None:
        while not done.wait(0.2):
            found.append(worker.rss_bytes())

    looking = threading.Thread(target=look, name="memory", daemon=True)
    looking.start()
    try:
        yield
    finally:
        done.set()
        looking.join()
    more = max(found) - found[0]
    scene.notes.append(f"{name}: resident {found[0] / MIB:.0f} MiB before, {max(found) / MIB:.0f} at most")
    if more > MORE_BYTES_MAX:
        scene.problems.append(f"{name} took {more / MIB:.0f} MiB more while PostgreSQL stood")

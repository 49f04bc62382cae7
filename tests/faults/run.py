"""Does faults to one stack, one after the other, and has the oracle look after each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.disk import NotHere
from tests.faults.log import Log
from tests.faults.oracle import Findings, Oracle
from tests.faults.scene import CORES, Row, Scene
from tests.faults.stack import Stack, fresh_stack, supervised_stack
from tests.faults.traffic import Traffic
from tests.faults.watch import TipWatch

TRIES = 5
"""Marks and ticks may move the journal while it is compared: a difference counts if it stays."""
RECOVERY_GOAL_S = 30.0
"""Of `make faults`, on a machine that does nothing else; a test has no goal that a crowded machine misses."""


@dataclass(slots=True)
class Result:
    """What one fault did."""

    id: str
    what: str
    events: int = 0
    lost: int = 0
    doubled: int = 0
    recovery_s: float | None = None
    broken: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    not_here: str = ""
    """Why this machine did not let it be run; then nothing else counts."""

    @property
    def kept(self) -> bool:
        return not self.broken


def run(rows: Sequence[Row], *, seed: int, say: Callable[[str], None], logs: Path | None = None) -> Iterator[Result]:
    """One result for each row, on one stack: what a fault left behind would show in those after it."""
    for supervised, kind in ((False, fresh_stack), (True, supervised_stack)):
        mine = [row for row in rows if row.supervised is supervised]
        if not mine:
            continue
        say("starting a stack ...")
        with kind(logs) as stack, prepared(stack, start=not supervised) as oracle:
            for row in mine:
                say(f"{row.id}: {row.what}")
                result = run_row(row, stack, oracle, seed=seed, goal_s=RECOVERY_GOAL_S)
                _tell(result, say)
                yield result


@contextmanager
def prepared(stack: Stack, *, start: bool = True) -> Iterator[Oracle]:
    """Two core workers, publish and record at work, and an oracle that has seen nothing yet."""
    log = Log(stack.running.cluster.bootstrap, stack.running.cluster.prefix)
    try:
        oracle = Oracle(stack.running, log)
        oracle.open()
        if start:
            stack.start(*CORES, "publish", "record")
        yield oracle
    finally:
        log.close()


def _tell(result: Result, say: Callable[[str], None]) -> None:
    if result.not_here:
        say(f"  not run here: {result.not_here}")
        return
    say(f"  {result.events} events, lost {result.lost}, doubled {result.doubled}, {_said(result)}")
    for note in result.notes:
        say(f"  {note}")
    for invariant, found in sorted(result.broken.items()):
        for one in found[:5]:
            say(f"  {invariant}: {one}")
        if len(found) > 5:
            say(f"  {invariant}: and {len(found) - 5} more")


def _said(result: Result) -> str:
    back = "not recovered" if result.recovery_s is None else f"recovered in {result.recovery_s:.1f} s"
    return f"{back}, {'every invariant kept' if result.kept else 'broken: ' + ', '.join(sorted(result.broken))}"


def run_row(row: Row, stack: Stack, oracle: Oracle, *, seed: int, goal_s: float = float("inf")) -> Result:
    """Write, do the fault, wait for lag 0, compare."""
    result, found = Result(row.id, row.what), Findings()
    name = f"s{seed}-{row.id}"
    traffic = Traffic(stack.running, run=name, seed=seed, rate=row.rate, mix=row.mix)
    watch = TipWatch(stack.running.valkey_url, [stack.running.pseudonym(user) for user in traffic.users])
    scene = Scene(stack, random.Random(f"{seed}/{row.id}/faults"), lambda: oracle.durable(found), oracle, traffic)
    exits = {worker.name: len(worker.exits) for worker in stack.workers.values()}
    traffic.start()
    watch.start()
    try:
        row.do(scene)
    except NotHere as not_here:
        result.not_here = str(not_here)
    except TimeoutError as late:
        found.add("I7", str(late))
    finally:
        began_s = time.monotonic()
        traffic.stop()
    try:
        stack.until(lambda: not oracle.lag(), what="lag 0")
        lag_s = time.monotonic() - began_s
        if lag_s > goal_s:
            found.add("I7", f"lag 0 only {lag_s:.0f} s after the fault")
        # An emptied Valkey is filled again from what is committed already: no lag tells when that is done.
        oracle.take()
        with suppress(TimeoutError):
            stack.until(lambda: not oracle.unserved(), what="every tip in Valkey")
        result.recovery_s = time.monotonic() - began_s
    except TimeoutError:
        found.add("I7", f"lag never 0: {oracle.lag()}")
    oracle.durable(found)
    _compare(row, stack, oracle, traffic, found)
    watch.stop()
    for user in sorted(watch.went_back):
        found.add("I4", f"tip of {user}: an older one was served after a newer one")
    for problem in scene.problems:
        found.add("I7", problem)
    ended = {w.name: w.exits[exits[w.name] :] for w in stack.workers.values() if w.exits[exits[w.name] :]}
    result.notes = [*scene.notes, f"tips looked at {watch.looks} times; ends: {ended or 'none'}"]
    if traffic.ledger.unknown:
        result.notes.append(f"{len(traffic.ledger.unknown)} events never acknowledged")
    result.events = len(traffic.ledger.acknowledged)
    result.lost, result.doubled, result.broken = found.lost, found.doubled, dict(found.broken)
    return result


def _compare(row: Row, stack: Stack, oracle: Oracle, traffic: Traffic, found: Findings) -> None:
    """The journal may still move (marks, ticks): what is compared has to have stood still meanwhile."""
    for attempt in range(TRIES):
        ends = oracle.log.ends("journal")
        oracle.take()
        stack.until(lambda: not oracle.lag(), what="lag 0")
        oracle.take()
        if ends == oracle.log.ends("journal") or attempt == TRIES - 1:
            break
    oracle.check(found, traffic.ledger, traffic.users, rebuilt=row.rebuilt)

"""One journal that 1, 2 and 4 workers make while they are killed, leave and come back, policies are promoted and the step version changes in the middle;
what they decided is held against a fold while people write (`oo verify`) and, once they have stopped, by `oo verify` and `oo replay`.

`python -m tests.faults.exact [DECISIONS] [--state FOLDER]` prints a line for each stretch and a report as JSON, and ends with 1 at the first difference.
It takes a quarter of an hour and more, makes an older build once (bench/builds.py), and is no part of the tests. A folder that is named stays.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from agents.policies import POLICIES
from bench.builds import HERE, Build, build, environment
from deploy.stack.running import open_stack
from streams.clock import clock_ms

BEFORE = "4ef16df"
"""The last build that wrote step version 5, neither seals nor pseudonyms: the journal begins with it."""
SERVED = tuple(name for name, one in POLICIES.items() if one.servable)
TURN_S = 10.0
"""Between two things that are done to the workers."""
PROMOTED_EACH, VERIFIED_EACH = 2, 6
"""In turns."""
LONGEST_S = 1500.0
"""Of one stretch."""
PEOPLE = ("--users=300", "--minutes=60", "--speed=600")


@dataclass(slots=True)
class Lived:
    """A stretch of the journal."""

    build: str
    step_version: int
    workers: int
    decisions: int = 0
    """Of records that were written in it."""
    ended_ms: int = 0
    seconds: int = 0
    kills: int = 0
    leavings: int = 0
    """Workers that left the group, and came back to it: two rebalances each."""
    promotions: int = 0
    verified_meanwhile: int = 0
    """Decisions, in the last verification while people wrote."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One state folder, under whichever build."""

    folder: Path

    def oo(self, *words: str, of: Build = HERE, check: bool = True) -> str:
        """What a command prints, of the command line of a build."""
        done = subprocess.run(
            self._argv(of, words), cwd=of.root, env=environment(), check=False, stdout=subprocess.PIPE, text=True
        )
        if check and done.returncode:
            sys.exit(f"oo {' '.join(words)} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    @contextmanager
    def people(self, of: Build, rate: int) -> Iterator[subprocess.Popen[bytes]]:
        """Simulated people who write meanwhile."""
        words = ("simulate", *PEOPLE, f"--rate={rate}")
        with subprocess.Popen(
            self._argv(of, words), cwd=of.root, env=environment(), stdout=subprocess.DEVNULL
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def verified(self) -> dict[str, Any]:
        """What `oo verify` says once the workers have come so far; it ends the program at a difference."""
        said, began_s = "", time.monotonic()
        while not said and time.monotonic() - began_s < LONGEST_S:
            said = self.oo("verify", "--json", check=False)
        found: dict[str, Any] = json.loads(said)
        if found["differences"]:
            sys.exit("\n".join([f"{found['differences']} differences", *found["shown"]]))
        return found

    def cores(self, of: Build) -> list[int]:
        """The process of each worker that runs now."""
        seen = json.loads(self.oo("status", "--json", of=of, check=False))["workers"]
        return [one["pid"] for one in seen if one["id"].startswith("core") and one["pid"]]

    def asked(self, what: str, since_ms: int = 0, before_ms: int = 1 << 62) -> int:
        """A number of the history of decisions between two times."""
        with psycopg.connect(open_stack(self.folder, ready=False).recommender_dsn) as database:
            row = database.execute(
                f"SELECT {what} FROM recommender.decisions WHERE decided_ms >= %s AND decided_ms < %s".encode(),
                (since_ms, before_ms),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def _argv(self, of: Build, words: Sequence[str]) -> list[str]:
        return [str(of.python), "-m", "deploy.cli", *words, f"--state={self.folder}"]


def live(stack: Stack, of: Build, workers: int, *, decisions: int, rate: int) -> Lived:
    """Let people write until there are so many decisions more; kill workers, have them leave, and promote meanwhile."""
    said = Lived(of.name, step_version(of), workers)
    stack.oo("up", "--detach", "--no-demo", f"--workers={workers}", of=of)
    until, began_s, turn = stack.asked("count(*)") + decisions, time.monotonic(), 0
    with stack.people(of, rate) as people:
        while stack.asked("count(*)") < until and time.monotonic() - began_s < LONGEST_S:
            assert people.poll() is None, "nobody writes"
            time.sleep(TURN_S)
            turn += 1
            if cores := stack.cores(of):
                # What leaves gives its partitions to the others; who is killed has them again when it is back.
                leaves = of is HERE and turn % 3 == 0
                with suppress(ProcessLookupError):
                    os.kill(cores[turn % len(cores)], signal.SIGUSR1 if leaves else signal.SIGKILL)
                    said.leavings, said.kills = said.leavings + leaves, said.kills + (not leaves)
            if turn % PROMOTED_EACH == 0:
                name = SERVED[turn // PROMOTED_EACH % len(SERVED)]
                said.promotions += "decides after" in stack.oo(
                    "policies", "promote", name, "--why=a run", of=of, check=False
                )
            if of is HERE and turn % VERIFIED_EACH == 0:
                said.verified_meanwhile = stack.verified()["decisions"]
    said.seconds = round(time.monotonic() - began_s)
    stack.oo("down", of=of)
    said.ended_ms = clock_ms()
    return said


def step_version(of: Build) -> int:
    """Which a build writes."""
    words = (str(of.python), "-c", "from agents.step import STEP_VERSION; print(STEP_VERSION)")
    return int(subprocess.run(words, cwd=of.root, env=environment(), check=True, stdout=subprocess.PIPE).stdout)


def report(stack: Stack, stretches: Sequence[Lived]) -> dict[str, Any]:
    """What both ways say of the whole journal once nobody writes; ends the program at a difference."""
    stack.oo("up", "--detach", "--no-demo")
    try:
        found = stack.verified()
        stack.oo("replay", "run", "--name=exact", "--json")
        replayed = json.loads(stack.oo("replay", "verify", "exact", "--json", check=False))
        if replayed["difference"]:
            sys.exit(f"oo replay verify: {replayed['difference']}")
        for before, one in zip([None, *stretches], stretches, strict=False):
            one.decisions = stack.asked("count(*)", 0 if before is None else before.ended_ms, one.ended_ms)
        versions = stack.asked("count(DISTINCT policy_version)")
    finally:
        stack.oo("down")
    return {
        "stretches": [asdict(one) for one in stretches],
        "versions": versions,
        "verify": found,
        "replay": replayed,
    }


def main() -> None:
    """One run shows all of it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("decisions", nargs="?", type=int, default=100_000)
    asked.add_argument("--state", help="where it stays; a folder that goes by default")
    asked.add_argument("--rate", type=int, default=150, help="signals a second")
    told = asked.parse_args()
    before = build(BEFORE, say=print)
    plan = ((before, 1), (HERE, 1), (HERE, 2), (HERE, 4))
    folder = tempfile.TemporaryDirectory(prefix="oo-exact-") if told.state is None else nullcontext(told.state)
    with folder as root:
        stack, stretches = Stack(Path(root).resolve() / "state"), []
        for of, workers in plan:
            one = live(stack, of, workers, decisions=told.decisions // len(plan), rate=told.rate)
            stretches.append(one)
            print(json.dumps(asdict(one)), flush=True)
        print(json.dumps(report(stack, stretches), indent=1))


if __name__ == "__main__":
    main()

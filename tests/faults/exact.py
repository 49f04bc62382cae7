"""Decisions made live by 1, 2 and 4 workers, killed and told to promote meanwhile, and held against a fold while people write and once they have stopped.

`python -m tests.faults.exact [DECISIONS]` prints a line for each number of workers, and ends with 1 at the first difference. It takes minutes, and is
no part of the tests.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from agents.policies import POLICIES
from deploy.stack.running import open_stack

WORKERS = (1, 2, 4)
SERVED = tuple(name for name, one in POLICIES.items() if one.servable)
KILLED_EVERY_S = 10.0
LONGEST_S = 600.0


def oo(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The command line of this tree."""
    argv = [sys.executable, "-m", "deploy.cli", *words]
    return subprocess.run(argv, check=check, capture_output=True, text=True)


def verified(state: str) -> dict[str, Any]:
    """What a verification says; it ends the program at a difference."""
    done = oo("verify", "--json", state, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    if found["differences"]:
        sys.exit("\n".join([f"{found['differences']} differences", *found["shown"]]))
    return found


def lived(workers: int, decisions: int) -> str:
    """One stack's life, in a line."""
    with tempfile.TemporaryDirectory(prefix="oo-exact-") as folder:
        state = f"--state={folder}/state"
        oo("up", "--detach", "--no-demo", f"--workers={workers}", state)
        stack = open_stack(Path(folder) / "state")
        people = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deploy.cli",
                "simulate",
                "--users=300",
                "--minutes=60",
                "--speed=600",
                "--rate=80",
                state,
            ],
            stdout=subprocess.DEVNULL,
        )
        kills = promotions = verifications = 0
        began_s = time.monotonic()
        try:
            while counted(stack.recommender_dsn, "decisions") < decisions and time.monotonic() - began_s < LONGEST_S:
                assert people.poll() is None, "nobody writes"
                time.sleep(KILLED_EVERY_S)
                seen = json.loads(oo("status", "--json", state, check=False).stdout)["workers"]
                cores = [one["pid"] for one in seen if one["id"].startswith("core") and one["pid"]]
                if cores:
                    with suppress(ProcessLookupError):
                        os.kill(cores[kills % len(cores)], signal.SIGKILL)
                    kills += 1
                if kills % 2 == 0:
                    name = SERVED[kills // 2 % len(SERVED)]
                    promotions += oo("policies", "promote", name, "--why=a run", state, check=False).returncode == 0
                if kills % 3 == 0:
                    verified(state)
                    verifications += 1
        finally:
            people.terminate()
            people.wait()
        took_s = time.monotonic() - began_s
        found = verified(state)
        versions = counted(stack.recommender_dsn, "decisions", "count(DISTINCT policy_version)")
        oo("down", state)
    return (
        f"{workers} workers: {found['decisions']} decisions ({found['vectors']} vectors), {found['outcomes']} outcomes, {found['rows']} rows, {found['tips']} tips "
        f"in {took_s:.0f} s; {kills} kills, {promotions} promotions, {versions} versions; {verifications} verifications meanwhile and one in the end: 0 differences"
    )


def counted(dsn: str, table: str, what: str = "count(*)") -> int:
    """Rows of history."""
    with psycopg.connect(dsn) as database:
        row = database.execute(f"SELECT {what} FROM recommender.{table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    for number in WORKERS:
        print(lived(number, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000), flush=True)

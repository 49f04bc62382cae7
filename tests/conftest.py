"""The real servers, once for a whole test session, on loopback and in a temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.stack.running import RunningStack, open_stack

ROOT = Path(__file__).resolve().parent.parent


def oo(*arguments: str, timeout_s: float = 300.0, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs the command `oo` as a person would; a failure shows what it printed."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "NO_COLOR": "1"}
    done = subprocess.run(
        (sys.executable, "-m", "deploy.cli", *arguments),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"oo {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="session")
def servers() -> Iterator[RunningStack]:
    """Kafka, PostgreSQL, Valkey and the registry with topics, schemas and migrations in place; no process of ours.

    All tests of a session share them: use users, groups and topics of your own, or a prefix of your own.
    """
    with tempfile.TemporaryDirectory(prefix="oo-servers-") as folder:
        state = Path(folder) / "state"
        oo("up", "--detach", "--servers-only", f"--state={state}")
        try:
            yield open_stack(state)
        finally:
            oo("down", f"--state={state}")


def kill(pid: int) -> None:
    """Kills a process as the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)

"""Processes of ours forked from one that has everything imported, as the supervisor forks them, for tests that wait instead of running a loop.

A new Python imports for two seconds of processor time before it does anything; some eighty tests start one or more.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from signal import SIGKILL
from typing import IO

from deploy.stack.forks import order, take_in_orphans
from deploy.stack.local import python_env
from deploy.stack.preloaded import GO, READY
from deploy.stack.processes import Command

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.01
ALSO = {"generate": ("litellm",)}
"""What a process finds imported beside all that others need. litellm's import takes 3 s of processor time; that a process of it speaks
to its model alone is shown in tests/connectors."""


class Forked:
    """A child of this process: what is used of a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, or the negative number of the signal that ended it; None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """As `poll`, once it has ended."""
        deadline_s = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline_s:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        """Nothing to one that has ended: its pid may be another's."""
        if self.poll() is None:
            os.kill(self.pid, number)


def fork(module: tuple[str, ...], *, env: Mapping[str, str], cwd: Path, output: IO[bytes]) -> Forked:
    """`python -m MODULE ARGUMENT...` in a process of its own, which ends with this one."""
    command = Command(argv=(sys.executable, "-m", *module), env=env, cwd=cwd, module=module)
    line, _ = _preloaded(ALSO.get(module[-1], ()), str(Path("/proc/self/ns/mnt").readlink()))
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    take_in_orphans(True)
    try:
        with mine:
            with theirs:
                socket.send_fds(line, [order(command, death_signal=SIGKILL)], [theirs.fileno(), output.fileno()])
            mine.settimeout(30)
            told = mine.recv(32)
            assert told, "the preloaded process forked nothing"
            mine.send(GO)
    finally:
        take_in_orphans(False)
    return Forked(int(told))


@cache
def _preloaded(also: tuple[str, ...], _mounts: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """One preloaded process for these, which ends when this one does, and the line to it.

    One for each namespace of mounts: one from before sees no disk that is mounted since, and neither do its forks.
    """
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            (sys.executable, "-m", "deploy.stack.preloaded", str(theirs.fileno()), *also),
            # As connectors/models.py has it before it imports litellm.
            env={**python_env(), "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            pass_fds=(theirs.fileno(),),
            cwd=ROOT,
        )
    mine.settimeout(180)
    assert mine.recv(len(READY)) == READY, "the preloaded process ended"
    return mine, process

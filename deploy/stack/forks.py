"""The supervisor's line to the preloaded process, and what was forked from it. It never decides when something starts.

A fork that does not come in time is given up and never becomes a process: then a new program is executed instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.stack.preloaded import GO, READY
from deploy.stack.processes import LINE_BYTES_MAX, Command

PATIENCE_S = 2.0
"""For a fork, which takes some 10 ms."""
PR_SET_CHILD_SUBREAPER = 36


def supported() -> bool:
    """Whether this system can: Linux 5.3 and a Python that knows of pidfd."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


class Forked:
    """A process that was forked for this one, and is its child: as asyncio's own are used."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._handle = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._handle, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        _, status = os.waitpid(self.pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set()

    async def wait(self) -> int:
        """Its exit status, or the negative number of the signal that ended it; once it is reaped."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing to one that has ended: its pid may be another's."""
        if self.returncode is None:
            os.kill(self.pid, number)


class Preloaded:
    """One preloaded process after the other."""

    def __init__(self, env: Mapping[str, str], cwd: Path, *, modules: Sequence[str] = ()) -> None:
        """`modules`: what is imported beside what every stack needs."""
        self._modules = modules
        self._env = env
        self._cwd = cwd
        self._line: socket.socket | None = None
        self._theirs: socket.socket | None = None
        self._up = False
        # One at a time: only while one is born does this process take in orphans.
        self._one = asyncio.Lock()

    def prepare(self) -> Command:
        """Opens a line and says how to start who is at its other end."""
        self.close()
        self._line, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.setblocking(False)
        number = self._theirs.fileno()
        argv = (sys.executable, "-m", "deploy.stack.preloaded", str(number), *self._modules)
        return Command(argv=argv, env=self._env, cwd=self._cwd, keep_open=(number,))

    async def ready(self) -> bool:
        """Whether everything is imported."""
        assert self._line is not None
        if self._theirs is not None:
            # The other end is the process's alone, so that its death is seen here.
            self._theirs.close()
            self._theirs = None
        with contextlib.suppress(OSError):
            self._up = self._line.recv(len(READY)) == READY
        return self._up

    async def fork(self, command: Command, *, death_signal: signal.Signals) -> Forked | None:
        """The command's module in a process of its own, a child of this one; None where a new program has to do it."""
        async with self._one:
            if not self._up or self._line is None:
                return None
            read, write = os.pipe()
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            mine.setblocking(False)
            take_in_orphans(True)
            try:
                with mine:
                    with theirs, os.fdopen(write, "wb", buffering=0):
                        socket.send_fds(
                            self._line, [order(command, death_signal=death_signal)], [theirs.fileno(), write]
                        )
                    async with asyncio.timeout(PATIENCE_S):
                        told = await asyncio.get_running_loop().sock_recv(mine, 32)
                    if not told:
                        raise ConnectionResetError
                    mine.send(GO)
            except (OSError, TimeoutError):
                os.close(read)
                return None
            finally:
                take_in_orphans(False)
        stdout = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        protocol = asyncio.StreamReaderProtocol(stdout)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read, "rb", buffering=0))
        return Forked(int(told), stdout)

    def close(self) -> None:
        """Ends the line, and with it who is at its other end."""
        for old in (self._line, self._theirs):
            if old is not None:
                old.close()
        self._line = self._theirs = None
        self._up = False


def order(command: Command, *, death_signal: signal.Signals) -> bytes:
    """What the preloaded process is told: to become this, for this process."""
    told = {
        "module": command.module,
        "argv": command.argv,
        "env": dict(command.env),
        "cwd": str(command.cwd),
        "death_signal": int(death_signal),
        "supervisor": os.getpid(),
    }
    return json.dumps(told).encode()


def take_in_orphans(yes: bool) -> None:
    """Whether orphans among this process's descendants become its children, and not the system's first process's."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0)

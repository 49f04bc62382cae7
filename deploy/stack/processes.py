"""Operating-system processes of the stack: starting, knowing again, ending, and keeping what they print.

It never decides when a part should run: the supervisor does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
CHILD = Path(__file__).with_name("child.py")
LOG_BYTES_MAX = 8 * 1024 * 1024
"""Of one log file; one older file of the same size is kept beside it."""
LINE_BYTES_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute, and how to ask it to end."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    owner: tuple[int, int] | None = None
    """uid and gid to drop to; only root can."""
    stop_signal: signal.Signals = signal.SIGTERM
    module: tuple[str, ...] = ()
    """The Python module and its arguments that `argv` runs, where a preloaded process may become it."""
    keep_open: tuple[int, ...] = ()
    """Descriptors that the program gets."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    born: str
    """Boot and start tick on Linux, start time elsewhere."""


def born(pid: int) -> str | None:
    """When the process with this pid started, in a form that a reused pid cannot repeat; None when there is none."""
    if not PROC.exists():
        return _started(pid)
    try:
        stat = (PROC / str(pid) / "stat").read_text()
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    # A zombie runs no more: its parent has only not asked yet.
    return None if state == "Z" else f"{boot}:{rest[18]}"


def _started(pid: int) -> str | None:
    """The start time as the operating system tells it, where there is no /proc."""
    import psutil  # of the extra `local`

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def identify(pid: int) -> Identity | None:
    """The identity of a running process, or None when it has ended."""
    start = born(pid)
    return None if start is None else Identity(pid, start)


def alive(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    return born(identity.pid) == identity.born


def end(identity: Identity, *, stop_signal: signal.Signals = signal.SIGTERM, timeout_s: float = 10.0) -> bool:
    """Ends exactly this process, by force after `timeout_s`; False when it was gone already. Blocks."""
    if not alive(identity):
        return False
    for number, patience_s in ((stop_signal, timeout_s), (signal.SIGKILL, 10.0)):
        try:
            os.kill(identity.pid, number)
            # One that was stopped cannot hear the signal before it goes on.
            os.kill(identity.pid, signal.SIGCONT)
        except ProcessLookupError:
            return True
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s:
            if not alive(identity):
                return True
            time.sleep(0.05)
    raise RuntimeError(f"process {identity.pid} did not end, even by SIGKILL")


class Log:
    """One part's output in a file of bounded size. Not safe for more than one writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, line: bytes) -> None:
        """Appends one line; past the limit the file becomes `<name>.1` and a new one begins."""
        if self._size + len(line) > LOG_BYTES_MAX:
            self._file.close()
            self.path.replace(self.path.with_name(self.path.name + ".1"))
            self._file = self.path.open("ab", buffering=0)
            self._size = 0
        self._file.write(line)
        self._size += len(line)

    def tail(self, lines: int = 5) -> str:
        """The last lines, for an error message."""
        written = [line for line in self.path.read_text(errors="replace").splitlines() if line.strip()]
        return "\n".join(written[-lines:])

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


async def spawn(command: Command, *, death_signal: signal.Signals | None = None) -> asyncio.subprocess.Process:
    """Starts the command below this process; it gets its stop signal when this *thread* ends.

    Call it from the main thread only: the kernel watches the thread that forked, not the process.
    """
    owner = "-" if command.owner is None else f"{command.owner[0]}:{command.owner[1]}"
    number = str(int(death_signal or command.stop_signal))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(CHILD), number, str(os.getpid()), owner, *command.argv),
        env=dict(command.env),
        cwd=command.cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=LINE_BYTES_MAX,
        pass_fds=command.keep_open,
    )


async def pump(stream: asyncio.StreamReader, log: Log) -> None:
    """Copies a part's output into its log until it ends; a line past the limit is cut into pieces."""
    while chunk := await stream.read(LINE_BYTES_MAX):
        log.write(chunk)

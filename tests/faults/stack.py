"""A stack of the harness's own: servers as `oo up` starts them, and our workers as children that it may kill.

It ends only what it started.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.stack.running import RunningStack, open_stack
from deploy.stack.state import free_port

ROOT = Path(__file__).resolve().parents[2]
CHILD = ROOT / "deploy" / "stack" / "child.py"
PATIENCE_S = 180.0
"""How long the harness waits for what must come; never how long something may take."""
AGAIN_S = 0.5
"""Between a worker's end and its next start."""


class Worker:
    """One process of ours. Start it from the main thread: it ends with the thread that started it."""

    def __init__(self, name: str, stack: RunningStack) -> None:
        self.name = name
        self.wanted = False
        self.exits: list[int] = []
        self.data = stack.folder.data(name)
        self.port = free_port()
        self._log = stack.folder.logs / f"{name}.log"
        self._env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}",
            "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C.UTF-8",
            **stack.environment(name),
            "OO_HEALTH_PORT": str(self.port),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_s = float("-inf")

    def start(self) -> None:
        self.wanted = True
        if self.running():
            return
        self.data.mkdir(parents=True, exist_ok=True)
        argv = (sys.executable, "-m", "agents", self.name.split("-", maxsplit=1)[0])
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                (sys.executable, "-I", "-S", str(CHILD), "9", str(os.getpid()), "-", *argv),
                env=self._env,
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def keep(self) -> None:
        """Start it again where it has ended and should not have, as a supervisor does."""
        if self._process is not None and self._process.poll() is not None:
            self.exits.append(self._process.returncode)
            self._process, self._ended_s = None, time.monotonic()
        if self.wanted and self._process is None and time.monotonic() - self._ended_s > AGAIN_S:
            self.start()

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """A signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """End it for good; returns the seconds that it took."""
        self.wanted = False
        began_s = time.monotonic()
        if self._process is not None:
            self.send(number)
            self.send(signal.SIGCONT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self.exits.append(self._process.returncode)
            self._process, self._ended_s = None, time.monotonic()
        return time.monotonic() - began_s

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Stack:
    """Servers and workers of one run."""

    def __init__(self, state: Path) -> None:
        self.running = open_stack(state)
        names = ("core-0", "core-1", "core-2", "publish", "record")
        self.workers = {name: Worker(name, self.running) for name in names}

    def keep(self) -> None:
        for worker in self.workers.values():
            worker.keep()

    def wait(self, seconds: float) -> None:
        """Let time pass; who dies meanwhile is started again."""
        until_s = time.monotonic() + seconds
        while True:
            self.keep()
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            time.sleep(min(0.05, left_s))

    def until(self, so: Callable[[], bool], *, what: str, patience_s: float = PATIENCE_S) -> float:
        """Wait until it is so; returns the seconds. Raises TimeoutError."""
        began_s = time.monotonic()
        while not so():
            if time.monotonic() - began_s > patience_s:
                raise TimeoutError(f"not within {patience_s:.0f} s: {what}")
            self.wait(0.1)
        return time.monotonic() - began_s

    def start(self, *names: str) -> None:
        for name in names:
            self.workers[name].start()
        self.until(lambda: all(self.workers[name].healthy() for name in names), what=f"{names} healthy")

    # -- the servers, which `oo up` supervises

    def server_pid(self, name: str) -> int | None:
        state: dict[str, Any] = self.running.folder.read() or {}
        pid: int | None = state["parts"][name]["pid"]
        return pid

    def server_ready(self, name: str) -> bool:
        return bool((self.running.folder.read() or {})["parts"][name]["ready"])

    def signal_server(self, name: str, number: signal.Signals) -> int:
        pid = self.server_pid(name)
        assert pid is not None, f"{name} does not run"
        os.kill(pid, number)
        return pid

    def kill_server(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, and return when its supervisor has it running again."""
        pid = self.signal_server(name, number)
        self.until(
            lambda: self.server_pid(name) not in (None, pid) and self.server_ready(name), what=f"{name} back again"
        )

    @contextmanager
    def without(self, name: str, number: signal.Signals) -> Iterator[None]:
        """The server is gone inside the block: its supervisor is held, so that nobody starts it again."""
        supervisor: int = (self.running.folder.read() or {})["supervisor"]["pid"]
        pid = self.server_pid(name)
        os.kill(supervisor, signal.SIGSTOP)
        try:
            self.signal_server(name, number)
            yield
        finally:
            os.kill(supervisor, signal.SIGCONT)
        self.until(
            lambda: self.server_pid(name) not in (None, pid) and self.server_ready(name), what=f"{name} back again"
        )

    def close(self) -> None:
        for worker in self.workers.values():
            worker.end(signal.SIGTERM)


@contextmanager
def fresh_stack(keep_logs: Path | None = None) -> Iterator[Stack]:
    """A new stack in a temporary folder, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="oo-faults-") as folder:
        state = Path(folder) / "state"
        _oo("up", "--detach", "--servers-only", f"--state={state}")
        try:
            stack = Stack(state)
            try:
                yield stack
            finally:
                stack.close()
        finally:
            _oo("down", f"--state={state}")
            if keep_logs is not None:
                shutil.copytree(state / "logs", keep_logs, dirs_exist_ok=True)


def _oo(*arguments: str) -> None:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "NO_COLOR": "1"}
    command = (sys.executable, "-m", "deploy.cli", *arguments)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"oo {' '.join(arguments)}: {done.stdout[-2000:]} {done.stderr[-2000:]}")

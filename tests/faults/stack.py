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
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from deploy.stack.running import RunningStack, open_stack
from deploy.stack.state import StateFolder, free_port
from tests.agents.forks import Forked, fork
from tests.faults.disk import Disk, may_mount, mounted
from tests.faults.proxy import Proxy
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
CHILD = ROOT / "deploy" / "stack" / "child.py"
LOG_DISK_BYTES = 6 * 1024**3
"""A bound, not a reservation: the broker's disk takes as much memory as it holds, about 1 GB after all rows."""
AGAIN_S = 0.5
"""Between a worker's end and its next start."""


class Worker:
    """One process of ours, forked as the supervisor forks it."""

    def __init__(self, name: str, stack: RunningStack) -> None:
        self.name = name
        self.wanted = False
        self.module = "agents"
        """What the next start runs."""
        self.exits: list[int] = []
        self.data = stack.folder.data(name)
        self.port = free_port()
        self.log_file = stack.folder.logs / f"{name}.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}",
            "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C.UTF-8",
            **{name: value for name, value in os.environ.items() if name.startswith("OO_")},
            **stack.environment(name),
            "OO_HEALTH_PORT": str(self.port),
        }
        """What the next start reads."""
        self._process: Forked | None = None
        self._ended_s = float("-inf")

    def start(self) -> None:
        self.wanted = True
        if self.running():
            return
        self.data.mkdir(parents=True, exist_ok=True)
        module = (self.module, self.name.split("-", maxsplit=1)[0])
        with self.log_file.open("ab") as log:
            self._process = fork(module, env=self.environment, cwd=self.data, output=log)

    def keep(self) -> None:
        """Start it again where it has ended and should not have, as a supervisor does."""
        if self._process is not None and self._process.poll() is not None:
            self.exits.append(self._process.returncode)
            self._process, self._ended_s = None, time.monotonic()
        if self.wanted and self._process is None and time.monotonic() - self._ended_s > AGAIN_S:
            self.start()

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process is not None and self.running() else None

    def rss_bytes(self) -> int:
        """Resident memory; 0 where it does not run."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss) if self.pid is not None else 0
        except psutil.NoSuchProcess:
            return 0

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
                self.send(signal.SIGKILL)
                self._process.wait(30)
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
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""


class Stack:
    """Servers and workers of one run. `proxies` stand before the servers whose names they bear; see `behind_proxies`."""

    def __init__(
        self, state: Path, *, proxies: Mapping[str, Proxy] | None = None, log_disk: Disk | None = None
    ) -> None:
        self.running = open_stack(state)
        self.proxies = proxies or {}
        self.log_disk = log_disk
        """Where the broker's log stands on a disk of its own."""
        names = ("core-0", "core-1", "core-2", "publish", "record", "generate", "score")
        self.workers = {name: Worker(name, self.running) for name in names}
        self._behind = False

    def behind_proxies(self) -> None:
        """From now on our processes reach Kafka, Valkey and PostgreSQL through the proxies; they start once more."""
        if self._behind:
            return
        self._behind = True
        ports = {name: proxy.port for name, proxy in self.proxies.items()}
        here = self.running
        through = RunningStack.local(here.folder, here.cluster.prefix, {**here.ports, **ports}, here.passwords)
        for worker in self.workers.values():
            worker.environment |= {
                name: value
                for name, value in through.environment(worker.name).items()
                if name in ("OO_KAFKA_BOOTSTRAP", "OO_VALKEY_URL", "OO_RECOMMENDER_DSN")
            }
        up = [name for name, worker in self.workers.items() if worker.wanted]
        for name in up:
            self.workers[name].end()
        self.start(*up)

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

    def until(self, so: Callable[[], bool], *, what: str) -> float:
        """Wait until it is so; returns the seconds. Raises TimeoutError."""
        began_s = time.monotonic()
        while not so():
            if time.monotonic() - began_s > PATIENCE_S:
                raise TimeoutError(f"not within {PATIENCE_S:.0f} s: {what}")
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
    """A new stack in a temporary folder, ended with the block: servers alone, with a proxy before three of them."""
    with ExitStack() as ends:
        state = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="oo-faults-"))) / "state"
        folder = StateFolder(state)
        folder.create()
        log_disk = None
        if not may_mount():
            log_disk = ends.enter_context(mounted(folder.data("kafka"), size_bytes=LOG_DISK_BYTES))
        listener, *ports = _free_ports(4)
        ends.callback(_keep, folder.logs, keep_logs)
        argv = (sys.executable, "-m", "tests.faults.launch", str(state), str(listener), str(ports[0]))
        supervisor = child(argv, signal.SIGTERM, env=_environment(), cwd=ROOT, log=folder.logs / "supervisor.log")
        ends.callback(_end, supervisor)
        _until_ready(folder, supervisor)
        servers = open_stack(state).ports
        targets = {"kafka": listener, "postgres": servers["postgres"], "valkey": servers["valkey"]}
        proxies = {
            name: ends.enter_context(Proxy(port, target=targets[name], kafka=name == "kafka"))
            for name, port in zip(targets, ports, strict=True)
        }
        stack = Stack(state, proxies=proxies, log_disk=log_disk)
        ends.callback(stack.close)
        yield stack


@contextmanager
def supervised_stack(keep_logs: Path | None = None) -> Iterator[Stack]:
    """A new stack as an operator starts it: `oo up`, whose supervisor keeps our processes running too."""
    with tempfile.TemporaryDirectory(prefix="oo-faults-") as folder:
        state = Path(folder) / "state"
        oo("up", "--detach", "--no-demo", "--workers=2", f"--state={state}")
        try:
            yield Stack(state)
        finally:
            oo("down", f"--state={state}")
            _keep(state / "logs", keep_logs)


def child(
    argv: Sequence[str], death_signal: signal.Signals, *, env: Mapping[str, str], cwd: Path, log: Path
) -> subprocess.Popen[bytes]:
    """A process that gets `death_signal` when this thread ends."""
    with log.open("ab") as output:
        return subprocess.Popen(
            (sys.executable, "-I", "-S", str(CHILD), str(int(death_signal)), str(os.getpid()), "-", *argv),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def oo(*arguments: str, statuses: Container[int] = (0,)) -> str:
    """What the command printed; raises RuntimeError where it ended with another status than these."""
    command = (sys.executable, "-m", "deploy.cli", *arguments)
    done = subprocess.run(
        command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode not in statuses:
        raise RuntimeError(f"oo {' '.join(arguments)}: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    return done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        found.append(free_port(taken=found))
    return found


def _until_ready(folder: StateFolder, supervisor: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while (folder.read() or {}).get("phase") != "ready":
        if supervisor.poll() is not None or time.monotonic() > until_s:
            raise RuntimeError(f"the stack did not start: {(folder.logs / 'supervisor.log').read_text()[-2000:]}")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _keep(logs: Path, where: Path | None) -> None:
    if where is not None:
        shutil.copytree(logs, where, dirs_exist_ok=True)

"""oo doctor: checks this machine and one state folder, and says how to mend each fault.

It never mends anything itself.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from deploy.commands.session import DEFAULT_STATE, JsonOption, StateOption
from deploy.stack import llm
from deploy.stack.fetch import KAFKA_LOCK, Cache, default_cache, file_sha256
from deploy.stack.java import java_path
from deploy.stack.local import HOW_TO_INSTALL, not_installed
from deploy.stack.postgres import SYSTEM_USER, installed_binaries
from deploy.stack.state import LOOPBACK, StateFolder, is_free
from deploy.stack.supervisor import leftovers
from deploy.stack.valkey import valkey_binary

PYTHON_MIN, PYTHON_END = (3, 11), (3, 14)
MEMORY_BYTES_MIN = 1_500_000_000
CACHE_BYTES_MIN = 600_000_000
STATE_BYTES_MIN = 1_000_000_000
FILES_MIN = 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `mend` is empty where nothing is wrong."""

    what: str
    seen: str
    mend: str = ""


def doctor(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Check this machine, and say how to mend each fault. Exit status 1 when there is one."""
    findings = list(examine(StateFolder(state.resolve()), default_cache()))
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
        for finding in findings:
            console.print(f"{'fault' if finding.mend else 'ok':<6}{finding.what}: {finding.seen}")
            if finding.mend:
                console.print(f"      {finding.mend}")
    if any(finding.mend for finding in findings):
        raise SystemExit(1)


def examine(folder: StateFolder, cache: Cache) -> Iterator[Finding]:
    """Looks at everything that is installed, whatever is found on the way."""
    missing = not_installed()
    if missing:
        yield Finding("local stack", f"not installed: {', '.join(missing)}", HOW_TO_INSTALL)
    local: tuple[Callable[[], Iterator[Finding]], ...] = (
        _programs,
        lambda: _cache(cache),
        lambda: _room(folder, cache),
    )
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        *(() if missing else local),
        _limits,
        _loopback,
        lambda: _state(folder),
        lambda: _language_model(folder),
        lambda: _processes(folder),
        lambda: _partitions(folder),
    )
    for check in checks:
        yield from check()


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    fits = PYTHON_MIN <= sys.version_info[:2] < PYTHON_END
    yield Finding("python", version, "" if fits else "install Python 3.11, 3.12 or 3.13, then: make PYTHON=... setup")


def _programs() -> Iterator[Finding]:
    """Each server's program must run here: the packages hold binaries of one kind of machine."""
    programs = {
        "java": (java_path(), "-version"),
        "postgres": (str(installed_binaries() / "postgres"), "--version"),
        "valkey": (str(valkey_binary()), "--version"),
    }
    for name, command in programs.items():
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
            lines = (done.stdout or done.stderr).splitlines()
            yield Finding(name, lines[0] if lines else "runs")
        except (OSError, subprocess.SubprocessError) as error:
            where = f"{platform.system()} {platform.machine()}"
            yield Finding(name, f"does not run on {where}: {error}", "run 'make setup' again on this machine")
    if os.geteuid() == 0:
        known = any(line.startswith(f"{SYSTEM_USER}:") for line in Path("/etc/passwd").read_text().splitlines())
        able = known or shutil.which("useradd") is not None
        seen = f"PostgreSQL runs as {SYSTEM_USER}, since root may not run it"
        yield Finding("user", seen, "" if able else f"make a system user called {SYSTEM_USER}, or do not start as root")


def _cache(cache: Cache) -> Iterator[Finding]:
    where = f"{cache.root}"
    parent = next(path for path in (cache.root, *cache.root.parents) if path.exists())
    if not os.access(parent, os.W_OK):
        yield Finding("cache", f"{where} cannot be written", "set OO_CACHE_DIR to a folder that you own")
        return
    if not cache.complete:
        yield Finding("cache", f"{where} is empty: the next 'oo up' fetches {cache.bytes_expected // 1_000_000} MB")
        return
    wrong = [
        name
        for jar in tomllib.loads(KAFKA_LOCK.read_text())["dependencies"]
        if not (path := cache.kafka / (name := f"{jar['artifactId']}-{jar['version']}.{jar['packaging']}")).exists()
        or file_sha256(path) != jar["sha256"]
    ]
    mend = f"delete {cache.kafka}: the next 'oo up' fetches it again" if wrong else ""
    yield Finding("cache", f"{where}: {', '.join(wrong)} not as locked" if wrong else f"{where} is complete", mend)


def _room(folder: StateFolder, cache: Cache) -> Iterator[Finding]:
    import psutil  # of the extra `local`

    free = psutil.virtual_memory().available
    running = folder.locked()
    short = free < MEMORY_BYTES_MIN and not running
    yield Finding("memory", f"{free / 1e9:.1f} GB free", "close something: the stack needs about 1 GB" if short else "")
    for what, path, least in (
        ("cache disk", cache.root, CACHE_BYTES_MIN),
        ("state disk", folder.root, STATE_BYTES_MIN),
    ):
        here = next(parent for parent in (path, *path.parents) if parent.exists())
        left = shutil.disk_usage(here).free
        mend = f"make room: {least / 1e9:.1f} GB at least" if left < least else ""
        yield Finding(what, f"{left / 1e9:.1f} GB free at {here}", mend)


def _limits() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    mend = f"run 'ulimit -n {max(FILES_MIN, 4096)}' before 'oo up'" if 0 <= soft < FILES_MIN else ""
    yield Finding("open files", f"{soft} of at most {hard}", mend)


def _loopback() -> Iterator[Finding]:
    try:
        with socket.create_server((LOOPBACK, 0)) as server, socket.create_connection(server.getsockname(), timeout=2):
            yield Finding("loopback", f"{LOOPBACK} works")
    except OSError as error:
        yield Finding("loopback", f"{LOOPBACK}: {error}", "bring up the interface lo, or allow connections to it")


def _state(folder: StateFolder) -> Iterator[Finding]:
    if not folder.root.exists():
        yield Finding("state", f"{folder.root} is not there yet: 'oo up' makes it")
        return
    if not os.access(folder.root, os.W_OK):
        yield Finding("state", f"{folder.root} cannot be written", "use --state with a folder that you own")
        return
    secret = (*folder.secrets.glob("*"), *folder.kek_dir.glob("*"))
    open_to_others = [path.name for path in secret if path.stat().st_mode & 0o077]
    mend = f"run: chmod 600 {folder.secrets}/* {folder.kek_dir}/*" if open_to_others else ""
    yield Finding(
        "secrets", f"others can read {', '.join(open_to_others)}" if mend else "only their owner reads them", mend
    )
    ports_file = folder.root / "ports.json"
    if ports_file.exists() and not folder.locked() and not leftovers(folder):
        ports = json.loads(ports_file.read_text())
        taken = [f"{name} {port}" for name, port in ports.items() if not is_free(port)]
        seen = (
            f"taken by others: {', '.join(taken)}; 'oo up' chooses new ones" if taken else "those of last time are free"
        )
        yield Finding("ports", seen)


def _language_model(folder: StateFolder) -> Iterator[Finding]:
    choice = (folder.read() or {}).get("llm", llm.OFF)
    if choice == llm.OFF:
        return
    missing = llm.not_installed(choice)
    if missing:
        yield Finding("language model", f"{choice} needs {', '.join(missing)}", llm.HOW_TO_INSTALL)
        return
    from connectors.models import FileUnusable, check

    try:
        check(folder.llm_file if choice == llm.LOCAL or "://" in choice else Path(choice))
    except FileUnusable as error:
        yield Finding("language model", str(error), "mend the file, or run 'oo up' with another --llm")
        return
    yield Finding("language model", choice)


def _processes(folder: StateFolder) -> Iterator[Finding]:
    state = folder.read()
    if state is None:
        return
    if not folder.locked():
        left = leftovers(folder)
        told = ", ".join(f"{name} (pid {identity.pid})" for name, identity in left.items())
        yield Finding("processes", f"left over: {told}" if left else "none runs", "run 'oo down'" if left else "")
        return
    down = [name for name, part in state["parts"].items() if not part["ready"]]
    mend = f"see {folder.logs}: {', '.join(f'{name}.log' for name in down)}" if down else ""
    yield Finding("processes", f"not ready: {', '.join(down)}" if down else "all parts are ready", mend)


def _partitions(folder: StateFolder) -> Iterator[Finding]:
    if not folder.locked():
        return
    from deploy.overview import snapshot
    from deploy.stack.running import NotRunning, open_stack

    try:
        stalled = snapshot(open_stack(folder.root, ready=False))["stalled"]
    except NotRunning:
        return
    if not stalled:
        yield Finding("partitions", "all are read, and none stands")
    for stall in stalled:
        seen = f"{stall['topic']}-{stall['partition']} stands at offset {stall['offset']}: {stall['cause']}"
        yield Finding("partitions", seen, f"see {folder.logs}; a worker that starts again takes up what nobody reads")

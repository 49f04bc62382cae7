"""The process that ours are forked from: what a child is given, whose child it is, and what an end of either does."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.stack import forks
from deploy.stack.forks import Forked, Preloaded
from deploy.stack.local import ROOT, python_env
from deploy.stack.processes import Command, spawn
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.skipif(not forks.supported(), reason="needs Linux 5.3")


@asynccontextmanager
async def preloaded(folder: Path) -> AsyncIterator[tuple[Preloaded, psutil.Process]]:
    """Ready to be forked from."""
    line = Preloaded(python_env(), folder)
    process = await spawn(line.prepare(), death_signal=signal.SIGKILL)
    while not await line.ready():
        assert process.returncode is None
        await asyncio.sleep(0.05)
    try:
        yield line, psutil.Process(process.pid)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        line.close()


def forked(folder: Path, *arguments: str) -> Command:
    module = ("tests.deploy.forked", *arguments)
    argv = (sys.executable, "-m", *module)
    return Command(argv=argv, env={**python_env(), "OO_MARK": "its own"}, cwd=folder, module=module)


async def fork(line: Preloaded, command: Command) -> tuple[Forked, dict[str, Any]]:
    child = await line.fork(command, death_signal=signal.SIGKILL)
    assert child is not None
    return child, json.loads(await child.stdout.readline())


def test_a_child_is_given_all_that_a_new_program_is(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "data"
        folder.mkdir()
        async with preloaded(tmp_path) as (line, process):
            assert process.num_threads() == 1
            command = forked(folder, "7")
            child, given = await fork(line, command)
            assert await child.wait() == 7
            assert given["pid"] == child.pid
            assert given["parent"] == os.getpid(), (
                "it is the supervisor's child: its status is the supervisor's to ask for"
            )
            assert given["session"] == child.pid
            assert given["arguments"] == ["7"]
            assert given["folder"] == str(folder)
            assert given["environment"] == dict(command.env)
            assert given["command"] == list(command.argv)
            assert given["threads"] == 1
            assert given["blocked"] == []
            assert given["open"] == [0, 1, 2], "and no end of any line"
            other, given_too = await fork(line, forked(tmp_path, "0"))
            assert await other.wait() == 0
            assert set(given["chance"]).isdisjoint(given_too["chance"])

    asyncio.run(scenario())


def test_the_end_of_the_preloaded_process_ends_no_child(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with preloaded(tmp_path) as (line, process):
            child, _ = await fork(line, forked(tmp_path, "wait"))
            process.kill()
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.01)
            assert await line.fork(forked(tmp_path, "0"), death_signal=signal.SIGKILL) is None
            assert psutil.Process(child.pid).ppid() == os.getpid()
            child.send_signal(signal.SIGTERM)
            assert await child.wait() == -signal.SIGTERM

    asyncio.run(scenario())


def test_a_fork_that_was_given_up_never_becomes_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE_S", 0.2)

    async def scenario() -> None:
        async with preloaded(tmp_path) as (line, process):
            process.suspend()
            marker = tmp_path / "marker"
            marker.mkdir()
            assert await line.fork(forked(marker, "wait"), death_signal=signal.SIGKILL) is None
            monkeypatch.undo()
            process.resume()
            # Orders are taken one after the other: when this one is done, so is the other.
            child, _ = await fork(line, forked(tmp_path, "0"))
            assert await child.wait() == 0
            assert [one for one in psutil.process_iter() if _works_in(one, marker)] == []

    asyncio.run(scenario())


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd() == str(folder)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from tests.deploy.test_preloaded import fork, forked, preloaded

async def main(folder):
    async with preloaded(folder) as (line, process):
        child, _ = await fork(line, forked(folder, "wait"))
        print(process.pid, child.pid, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_child_dies_with_its_supervisor(tmp_path: Path) -> None:
    environment = {**os.environ, **python_env()}
    with subprocess.Popen(
        (sys.executable, "-c", SUPERVISOR, str(tmp_path)), cwd=ROOT, env=environment, stdout=subprocess.PIPE
    ) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(pid) for pid in supervisor.stdout.readline().split()]
        assert all(psutil.pid_exists(pid) for pid in pids)
        supervisor.kill()
    deadline_s = time.monotonic() + PATIENCE_S
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)

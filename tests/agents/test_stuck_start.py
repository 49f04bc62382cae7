"""A start that gets no further says what it waits for, and ends to be started anew."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from streams.start_watch import waits
from streams.watchdog import EXIT_STALE
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


def test_a_start_at_a_broker_that_takes_connections_and_never_answers_ends_and_says_where_it_stood(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}",
            "OO_KAFKA_BOOTSTRAP": f"127.0.0.1:{silent.getsockname()[1]}",
            "OO_REGISTRY_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "OO_DATA_DIR": str(tmp_path),
            "OO_WORKER_ID": "core-0",
            # Before whoever asks Kafka first gives up by itself, with another status.
            "OO_START_STUCK_S": "1",
        }
        command = (sys.executable, "-m", "agents", "core")
        ended = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    assert ended.returncode == EXIT_STALE, ended.stderr
    assert "start.stuck behind=imports" in ended.stderr
    told = [line for line in ended.stderr.splitlines() if "start.waits" in line]
    assert any("what=task:schemas at=" in line and "streams/schemas.py:" in line for line in told), told
    assert any("what=task:" in line and "streams/access.py:" in line and "worker.py:" in line for line in told), told
    # What blocks in a thread says so too.
    assert any("what=thread:" in line and "streams/access.py:" in line and "_check" in line for line in told), told


async def _records(never: asyncio.Event) -> AsyncIterator[int]:
    await never.wait()
    yield 1


async def _follow(never: asyncio.Event) -> None:
    async for _ in _records(never):
        pass


def test_what_a_task_waits_for_is_told_through_whatever_it_waits_by() -> None:
    async def told() -> dict[str, list[str]]:
        task = asyncio.create_task(_follow(asyncio.Event()), name="following")
        await asyncio.sleep(0)
        found = dict(await asyncio.to_thread(waits, asyncio.get_running_loop()))
        task.cancel()
        return found

    places = [one.rpartition(" ")[2] for one in asyncio.run(told())["task:following"]]
    assert places == ["wait", "_records", "_follow"]

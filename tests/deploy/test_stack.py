"""A whole life of a local stack: started, killed in parts and as a whole, stopped. With the real servers."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from command import called, kill, oo
from confluent_kafka.admin import NewTopic

from deploy.stack.running import open_stack
from deploy.stack.topics import admin
from streams.reader import bounds
from streams.topics import topics
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    # Not pytest's: each run of pytest closes the folder that all its runs share to other users.
    with tempfile.TemporaryDirectory(prefix="oo-stack-") as parent:
        folder = Path(parent) / "state"
        oo("up", "--detach", "--servers-only", f"--state={folder}")
        yield folder
        oo("down", f"--state={folder}")


def status(state: Path) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(called("status", "--json", f"--state={state}", check=False).stdout)
    return shown


def eventually(what: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.1)


def processes_of(state: Path) -> list[psutil.Process]:
    """Every process that names the state folder in its arguments."""
    return [
        process
        for process in psutil.process_iter()
        if any(str(state) in argument for argument in _arguments(process)) and process.pid != os.getpid()
    ]


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return []


def schema_ids(registry_url: str) -> dict[str, int]:
    with httpx.Client(base_url=registry_url, trust_env=False) as client:
        return {
            topic.name: client.get(f"/subjects/{topic.name}-value/versions/latest").json()["id"]
            for topic in topics().values()
        }


def test_the_status_names_every_server_with_its_address_and_pid(state: Path) -> None:
    shown = status(state)
    assert shown["ready"] is True
    for part, address in {"kafka": "bootstrap", "registry": "url", "postgres": "dsn", "valkey": "url"}.items():
        assert psutil.pid_exists(shown[part]["pid"]), part
        assert "127.0.0.1:" in shown[part][address]


def test_the_status_holds_no_password(state: Path) -> None:
    printed = oo("status", "--json", f"--state={state}").stdout
    assert not [role for role, password in open_stack(state).passwords.items() if password in printed]


def test_a_second_start_says_so_and_changes_nothing(state: Path) -> None:
    before = status(state)
    second = oo("up", "--detach", "--servers-only", f"--state={state}", check=False)
    assert second.returncode == 1
    assert len(second.stderr.splitlines()) == 1
    assert "already running" in second.stderr
    assert status(state) == before


def test_secrets_are_readable_by_their_owner_only(state: Path) -> None:
    files = list((state / "secrets").iterdir())
    assert len(files) >= 4
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}


def test_nothing_in_the_state_folder_is_open_to_others(state: Path) -> None:
    passed = {state: 0o710, state / "data": 0o710} if os.geteuid() == 0 else {}
    modes = {path: path.lstat().st_mode & 0o777 for path in (state, *state.glob("*"), *state.glob("*/*"))}
    assert len(modes) > 12
    assert {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077 & ~passed.get(path, 0o700)} == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_sees_nothing_of_the_state_folder(state: Path) -> None:
    def as_nobody(*command: str | Path) -> subprocess.CompletedProcess[str]:
        entry = pwd.getpwnam("nobody")
        return subprocess.run(
            command, user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], capture_output=True, text=True, check=False
        )

    # The folders above let through, so that it is this folder that does not.
    assert as_nobody("stat", state).returncode == 0
    for hidden in (state, state / "data", state / "logs", state / "state.json", state / "secrets" / "mac.key"):
        looked = as_nobody("ls" if hidden.is_dir() else "cat", hidden)
        assert looked.returncode != 0, hidden
        assert "Permission denied" in looked.stderr
        assert looked.stdout == ""


def test_topics_lists_every_topic(state: Path) -> None:
    rows = json.loads(oo("topics", "--json", f"--state={state}").stdout)
    assert {row["topic"]: row["partitions"] for row in rows} == {t.name: t.partitions for t in topics().values()}


@pytest.mark.parametrize(
    "part",
    [
        "valkey",
        pytest.param(
            "kafka",
            marks=pytest.mark.long("tests/faults/test_faults.py::test_a_fault_breaks_no_invariant[broker-kill]"),
        ),
    ],
)
def test_a_part_that_is_killed_comes_back_on_its_port(state: Path, part: str) -> None:
    before = status(state)
    kill(before[part]["pid"])
    eventually(lambda: status(state)[part]["restarts"] == before[part]["restarts"] + 1)
    eventually(lambda: bool(status(state)["ready"]))
    after = status(state)
    assert after[part]["pid"] != before[part]["pid"]
    addresses = ("bootstrap", "url", "dsn")
    assert [after[part].get(name) for name in addresses] == [before[part].get(name) for name in addresses]


@pytest.mark.long(
    "tests/agents/test_partition_counts.py::test_a_topic_made_anew_ends_the_worker_and_the_next_one_takes_each_of_its_records_once"
)
def test_the_end_of_a_topic_that_is_made_anew_is_told_by_a_broker_that_has_started_again(state: Path) -> None:
    cluster, name = open_stack(state).cluster, f"anew-{uuid.uuid4().hex[:8]}"
    client = admin(cluster)

    def make() -> None:
        eventually(lambda: name not in client.list_topics(timeout=30).topics)
        client.create_topics([NewTopic(name, 1, 1)])[name].result(30)
        # The controller has it before the broker does.
        eventually(lambda: name in client.list_topics(timeout=30).topics)

    make()
    before = status(state)["kafka"]["restarts"]
    kill(status(state)["kafka"]["pid"])
    eventually(lambda: status(state)["kafka"]["restarts"] == before + 1 and bool(status(state)["ready"]))

    async def story() -> list[tuple[int, int]]:
        found = [await bounds(cluster, name, 0)]
        client.delete_topics([name])[name].result(30)
        make()
        # librdkafka 2.16 goes on with the leader epoch that the topic of before had come to (UNKNOWN_LEADER_EPOCH).
        return [*found, await bounds(cluster, name, 0)]

    assert asyncio.run(story()) == [(0, 0), (0, 0)]


def test_the_registry_outlives_a_killed_postgresql(state: Path) -> None:
    stack = open_stack(state)
    ids, before = schema_ids(stack.cluster.registry_url), status(state)
    kill(before["postgres"]["pid"])
    eventually(lambda: status(state)["postgres"]["pid"] not in (None, before["postgres"]["pid"]))
    eventually(lambda: bool(status(state)["ready"]))
    assert schema_ids(stack.cluster.registry_url) == ids


@pytest.mark.long("tests/deploy/test_stack.py::test_the_registry_outlives_a_killed_postgresql")
def test_schema_ids_survive_a_killed_registry(state: Path) -> None:
    stack, before = open_stack(state), status(state)
    ids = schema_ids(stack.cluster.registry_url)
    kill(before["registry"]["pid"])
    eventually(lambda: status(state)["registry"]["pid"] not in (None, before["registry"]["pid"]))
    eventually(lambda: bool(status(state)["ready"]))
    assert schema_ids(stack.cluster.registry_url) == ids


def test_after_a_killed_supervisor_the_next_start_leaves_no_orphan(state: Path) -> None:
    before, ids = status(state), schema_ids(open_stack(state).cluster.registry_url)
    recorded = json.loads((state / "state.json").read_text())
    # Stopped, it cannot hear that its supervisor died: it is what is left.
    os.kill(before["valkey"]["pid"], signal.SIGSTOP)
    kill(recorded["supervisor"]["pid"])
    eventually(lambda: not psutil.pid_exists(recorded["supervisor"]["pid"]))
    assert psutil.pid_exists(before["valkey"]["pid"])

    oo("up", "--detach", "--servers-only", f"--state={state}")

    after = status(state)
    assert after["ready"] is True
    assert not [part for part in ("kafka", "registry", "postgres", "valkey") if psutil.pid_exists(before[part]["pid"])]
    assert schema_ids(open_stack(state).cluster.registry_url) == ids


def test_down_leaves_no_process_and_a_second_one_does_no_harm(state: Path) -> None:
    assert processes_of(state)
    oo("down", f"--state={state}")
    assert processes_of(state) == []
    assert oo("down", f"--state={state}").returncode == 0

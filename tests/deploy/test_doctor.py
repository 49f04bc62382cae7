"""oo doctor finds each planted fault and says how to mend it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.commands.doctor import Finding, examine
from deploy.stack.fetch import Cache, default_cache
from deploy.stack.processes import identify
from deploy.stack.state import StateFolder


def faults(root: Path, cache: Cache | None = None) -> dict[str, Finding]:
    return {found.what: found for found in examine(StateFolder(root), cache or default_cache()) if found.mend}


def test_a_healthy_machine_has_no_fault(tmp_path: Path) -> None:
    assert faults(tmp_path / "state") == {}


def test_a_secret_that_others_can_read_is_a_fault(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.create()
    folder.keys()
    folder.mac_key_file.chmod(0o644)
    assert "chmod 600" in faults(tmp_path)["secrets"].mend


def test_a_server_that_is_not_as_locked_is_a_fault(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.kafka.mkdir(parents=True)
    cache.registry.mkdir()
    found = faults(tmp_path / "state", cache)["cache"]
    assert "kafka-clients" in found.seen
    assert str(cache.kafka) in found.mend


def test_what_a_killed_supervisor_left_is_a_fault(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.create()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as left:
        identity = identify(left.pid)
        assert identity is not None
        folder.write({"parts": {"valkey": {"pid": identity.pid, "born": identity.born}}})
        assert "oo down" in faults(tmp_path)["processes"].mend
        left.kill()

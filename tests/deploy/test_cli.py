"""The command `oo` before anything runs: help, wrong usage, one line for what fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import called, oo

from deploy.cli import COMMANDS


def test_help_lists_every_command() -> None:
    printed = oo("--help").stdout
    assert [name for name in COMMANDS if name not in printed] == []


@pytest.mark.parametrize("command", ["status", "topics", "tip --user demo"])
def test_without_a_stack_a_command_says_how_to_start_one(tmp_path: Path, command: str) -> None:
    done = oo(*command.split(), f"--state={tmp_path}", check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "oo up" in done.stderr


def test_the_traceback_comes_with_debug_only(tmp_path: Path) -> None:
    assert "Traceback" not in oo("status", f"--state={tmp_path}", check=False).stderr
    assert "Traceback" in oo("status", f"--state={tmp_path}", "--debug", check=False).stderr


@pytest.mark.parametrize("command", ["up --workers=0", "up --port=kafka", "nonsense", "status --nonsense"])
def test_wrong_usage_ends_with_status_2(tmp_path: Path, command: str) -> None:
    where = [] if command == "nonsense" else [f"--state={tmp_path}"]
    assert called(*command.split(), *where, check=False).returncode == 2


def test_down_where_nothing_runs_says_so(tmp_path: Path) -> None:
    done = oo("down", f"--state={tmp_path}")
    assert "Nothing runs" in done.stdout

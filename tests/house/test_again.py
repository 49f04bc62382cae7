"""A run passes where what failed passes by itself, and says so; it fails where that fails again, or where too much failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pathlib
import pytest

@pytest.mark.parametrize("name", ["one", "two"])
def test_that_fails_the_first_time(name):
    seen = pathlib.Path(__file__).with_name(name)
    if not seen.exists():
        seen.touch()
        pytest.fail("the first time")

def test_that_fails_or_not():
    assert {passes}

def test_that_passes():
    pass
"""


def run(folder: Path, text: str, most: int) -> tuple[int, str]:
    (folder / "test_some.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p tests.again -p no:cacheprovider\n")
    command = [sys.executable, "-m", "pytest", f"--again={most}", str(folder)]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("most", "passes", "status", "runs"),
    [
        pytest.param(2, True, 0, 2, id="all pass by themselves"),
        pytest.param(1, True, 1, 1, id="too many failed"),
        pytest.param(3, False, 1, 2, id="one fails again"),
    ],
)
def test_what_failed_runs_once_more(tmp_path: Path, most: int, passes: bool, status: int, runs: int) -> None:
    ended, said = run(tmp_path, TESTS.format(passes=passes), most)
    assert ended == status, said
    assert said.count("test session starts") == runs
    assert ("passed by themselves" in said) == (status == 0)


def test_a_run_that_broke_off_stays_broken(tmp_path: Path) -> None:
    ended, said = run(tmp_path, "def test_of_no_python(:\n    pass\n", 9)
    assert ended == pytest.ExitCode.INTERRUPTED, said
    assert said.count("test session starts") == 1

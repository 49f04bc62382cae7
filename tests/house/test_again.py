"""A run passes where what failed passes by itself, and says so; it fails where that fails again, or where too much failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import os
import pathlib
import pytest

@pytest.mark.parametrize("name", ["one", "two"])
def test_that_fails_the_first_time(name):
    seen = pathlib.Path(__file__).with_name(name)
    if not seen.exists():
        seen.touch()
        pytest.fail("the first time")

def test_that_fails_or_not():
    {more}

def test_that_passes():
    pass
"""


SKIPPED = """
    seen = pathlib.Path(__file__).with_name("three")
    if seen.exists():
        pytest.skip("what it needs is not here")
    seen.touch()
    assert False
"""
DIES = "os.abort()"


def run(folder: Path, text: str, *options: str) -> tuple[int, str]:
    (folder / "test_some.py").write_text(text)
    markers = "markers =\n  last: it looks at what others did\n"
    (folder / "pytest.ini").write_text(f"[pytest]\naddopts = -p tests.again -p no:cacheprovider\n{markers}")
    command = [sys.executable, "-m", "pytest", *options, str(folder)]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("most", "more", "status", "runs"),
    [
        pytest.param(2, "pass", 0, 2, id="all pass by themselves"),
        pytest.param(1, "pass", 1, 1, id="too many failed"),
        pytest.param(3, "assert False", 1, 2, id="one fails again"),
        pytest.param(3, SKIPPED, 1, 2, id="one is skipped by itself"),
    ],
)
def test_what_failed_runs_once_more(tmp_path: Path, most: int, more: str, status: int, runs: int) -> None:
    ended, said = run(tmp_path, TESTS.format(more=more), f"--again={most}")
    assert ended == status, said
    assert said.count("test session starts") == runs
    assert ("passed by themselves" in said) == (status == 0)


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        pytest.param("def test_of_no_python(:\n", (), 2, id="nothing is collected"),
        pytest.param(TESTS.format(more="pass"), ("-x",), 1, id="it stopped at the first"),
        pytest.param(TESTS.format(more=DIES), ("-p", "xdist", "-n1"), 1, id="a process died"),
        pytest.param(TESTS.replace("@", "@pytest.mark.last\n@").format(more="pass"), (), 1, id="it looks at others"),
    ],
)
def test_a_run_that_says_more_than_that_tests_failed_stays_failed(
    tmp_path: Path, text: str, options: tuple[str, ...], status: int
) -> None:
    ended, said = run(tmp_path, text, "--again=9", *options)
    assert ended == status, said
    assert "Once more" not in said

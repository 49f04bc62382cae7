"""A plugin for pytest: what failed among others runs once more by itself, and the run passes with it (docs/adr/0089).

A fault of the code fails twice. What fails once, on a machine that thousands of tests and their servers share, is a fault of the
test or of its patience: it is named at the end, to be mended, and does not stop what has nothing to do with it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    asked = "run what failed once more by itself, where that is at most N tests (tests/again.py)"
    parser.addoption("--again", type=int, default=0, metavar="N", help=asked)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Run them behind all that is said of the first run; an end of another kind than failed tests stays as it is."""
    yield
    config = session.config
    if hasattr(config, "workerinput") or session.exitstatus != pytest.ExitCode.TESTS_FAILED:
        return
    tests = failed(config.pluginmanager.getplugin("terminalreporter").stats)
    if len(tests) > config.option.again:
        return
    print("\nOnce more, by themselves:", *tests, sep="\n  ", flush=True)
    alone = [sys.executable, "-m", "pytest", f"--rootdir={config.rootpath}", *tests]
    if subprocess.run(alone, cwd=config.rootpath, check=False).returncode == 0:
        session.exitstatus = pytest.ExitCode.OK
        print("Failed among others and passed by themselves; to be mended:", *tests, sep="\n  ", flush=True)


def failed(stats: Mapping[str, Iterable[Any]]) -> list[str]:
    """Give the ids of tests that failed or whose fixtures did, each once, in order; `stats` is the terminal reporter's.

    >>> from types import SimpleNamespace as Report
    >>> failed({"failed": [Report(nodeid="a")], "error": [Report(nodeid="b"), Report(nodeid="a")], "passed": [Report(nodeid="c")]})
    ['a', 'b']
    """
    return list(dict.fromkeys(report.nodeid for kind in ("failed", "error") for report in stats.get(kind, ())))

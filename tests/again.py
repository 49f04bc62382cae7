"""A plugin for pytest: what failed among others runs once more by itself, and the run passes with it (docs/adr/0089).

A fault of the code fails twice. What fails once, on a machine that thousands of tests and their servers share, is a fault of the
test or of its patience: it is named at the end, to be mended, and does not stop what has nothing to do with it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    asked = "run what failed once more by itself, where that is at most N tests (tests/again.py)"
    parser.addoption("--again", type=int, default=0, metavar="N", help=asked)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Run them behind all that is said of the first run; an end of another kind than failed tests stays as it is."""
    yield
    config = session.config
    ended = session.exitstatus != pytest.ExitCode.TESTS_FAILED or session.shouldfail or session.shouldstop
    if hasattr(config, "workerinput") or ended:
        return
    reports = failed(config.pluginmanager.getplugin("terminalreporter").stats)
    if len(reports) > config.option.again or not all(map(can_pass_alone, reports.values())):
        return
    print("\nOnce more, by themselves:", *reports, sep="\n  ", flush=True)
    if passed([*reports], config.rootpath) == len(reports):
        session.exitstatus = pytest.ExitCode.OK
        print("Failed among others and passed by themselves; to be mended:", *reports, sep="\n  ", flush=True)


def failed(stats: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    """Give the first report of each test that failed or whose fixtures did, by its id; `stats` is the terminal reporter's.

    >>> from types import SimpleNamespace as Report
    >>> list(failed({"failed": [Report(nodeid="a")], "error": [Report(nodeid="b"), Report(nodeid="a")], "passed": [Report(nodeid="c")]}))
    ['a', 'b']
    """
    found: dict[str, Any] = {}
    for report in (report for kind in ("failed", "error") for report in stats.get(kind, ())):
        found.setdefault(report.nodeid, report)
    return found


def can_pass_alone(report: Any) -> bool:
    """Whether it says anything that this test passes by itself: not where its process died, nor where it looks at what others did."""
    died = report.when not in {"setup", "call", "teardown"}
    return not (died or {"last", "crowd"} & set(report.keywords))


def passed(tests: Sequence[str], root: Path) -> int:
    """Run these alone; returns how many passed. One that is skipped did not."""
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said.xml"
        alone = [sys.executable, "-m", "pytest", f"--rootdir={root}", "--again=0", f"--junitxml={said}", *tests]
        if subprocess.run(alone, cwd=root, check=False).returncode:
            return 0
        return sum(not [*case] for case in ElementTree.parse(said).iter("testcase"))

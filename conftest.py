"""What holds for all tests: in which order they run, which of them share a process, and what is said at the end.

What needs nothing runs first, what starts servers last, so that a slip shows within seconds. In several processes it is the other
way round: what is short fills up the end.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import long, proven

pytest_plugins = ["tests.again"]

# Where a process that a test starts dies of a signal, its last words say where.
os.environ["PYTHONFAULTHANDLER"] = "1"

# A property holds or does not, however slow the machine is at that moment.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

TOGETHER = ("tests/e2e", "tests/faults", "tests/serving/auth")
"""Folders whose tests share what is dear to start: with `--dist` they share a process, and are the first to get one."""
APART = (
    "tests/e2e/test_language_model.py",
    "tests/e2e/test_rows_of_before.py",
    "tests/e2e/test_secure_stack.py",
    "tests/e2e/test_secured.py",
    "tests/e2e/test_stranger.py",
    "tests/e2e/test_tracing.py",
    "tests/e2e/test_training.py",
)
"""Files in them that start servers of their own: another process may have them."""
OPERATORS = tuple(
    f"tests/e2e/test_{name}.py"
    for name in (
        *("elsewhere", "explaining", "follow", "metrics", "operator_looks", "redriving", "replaying", "shadowing"),
        *("verify", "versions", "without_local", "words"),
    )
)
"""Of a whole stack's what operators do with it: one of their own, or everybody waited for one process."""


def _session_fixtures(item: Any) -> dict[str, Any]:
    """Our fixtures of session scope that it asks for: they are what is dear to start."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return {}
    used = {name: definitions[-1] for name, definitions in info.name2fixturedefs.items() if definitions}
    return {name: one for name, one in used.items() if one.scope == "session" and one.baseid}


def _together(nodeid: str) -> str:
    """What shares a process with this test where tests run in several: its folder's, else its file's.

    By the id alone: pytest 9.2 does not see the group that xdist 3.8 writes into a test's id (findings/xdist-groups.sh).
    """
    path = nodeid.split("::", maxsplit=1)[0]
    if path in OPERATORS:
        return OPERATORS[0]
    return path if path in APART else next((folder for folder in TOGETHER if path.startswith(f"{folder}/")), path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _together(nodeid)

    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests that are marked long (tests/long.py)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marks = {item.nodeid: [*item.iter_markers("long")] for item in items}
    stand_ins = {nodeid: [one for mark in found for one in mark.args] for nodeid, found in marks.items() if found}
    others = {item.nodeid for item in items if not item.get_closest_marker("library")} - stand_ins.keys()
    config.stash[long.WITHOUT_STAND_IN] = [*long.without_stand_in(stand_ins, others)]
    markers, named = config.option.markexpr, long.named(config.args, config.invocation_params.dir)
    if proven.stands() and not long.asked_for("library", markers):
        _leave_out("library", config, items)
    if not (config.option.long or long.asked_for("long", markers)):
        _leave_out("long", config, items, named=named)
    shared = hasattr(config, "workerinput")
    items.sort(
        key=lambda item: (
            shared and not item.nodeid.startswith(TOGETHER),
            item.get_closest_marker("last") is not None,
            item.get_closest_marker("crowd") is not None,
            bool(_session_fixtures(item)) != shared,
            not isinstance(item, pytest.Function),
        )
    )


def _leave_out(marker: str, config: pytest.Config, items: list[pytest.Item], *, named: Collection[Path] = ()) -> None:
    out = {item for item in items if item.get_closest_marker(marker) and item.path not in named}
    config.hook.pytest_deselected(items=[*out])
    items[:] = [item for item in items if item not in out]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End a folder's stack with the folder's last test in this process: standing idle it takes a quarter of a core."""
    group = _together(item.nodeid)
    last = nextitem is None or _together(nextitem.nodeid) != group
    if hasattr(item.config, "workerinput") and group.startswith(TOGETHER) and last:
        # Its last test may be one that does not ask for it.
        for one in (one for one in item.session.items if _together(one.nodeid) == group):
            for definition in _session_fixtures(one).values():
                if definition.baseid.startswith(TOGETHER):
                    definition.finish(item._request)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Seconds by part, beside pytest's slowest tests; what runs in several processes adds up to more than passes."""
    spent = Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folder = Path(report.nodeid.split("::")[0]).parent.parts[:2]
                spent["/".join(folder if folder[:1] == ("tests",) else folder[:1])] += report.duration
    terminalreporter.section("seconds by part")
    for part, seconds in spent.most_common():
        terminalreporter.write_line(f"{seconds:8.1f}  {part}")

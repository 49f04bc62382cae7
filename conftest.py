"""What holds for all tests: in which order they run, which of them share a process, and what is said at the end.

What needs nothing runs first, what starts servers last, so that a slip shows within seconds.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import proven

# A property holds or does not, however slow the machine is at that moment.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

DEAR = ("servers", "stack", "scenery")
"""Session-wide fixtures that start a stack: with `--dist loadgroup` the tests of each share one process."""


def _ours(item: pytest.Item, scope: str) -> set[str]:
    """Names of our fixtures of this scope that it asks for: those of session scope are what is dear to start."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return set()
    used = {name: definitions[-1] for name, definitions in info.name2fixturedefs.items() if definitions}
    return {name for name, one in used.items() if one.scope == scope and one.baseid}


def _group(item: pytest.Item) -> str | None:
    """With whom it shares a process where tests run in several."""
    dear = [name for name in DEAR if name in _ours(item, "session")]
    if dear:
        return dear[0]
    return str(item.path) if _ours(item, "module") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.option.markexpr and proven.stands():
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("library")])
        items[:] = [item for item in items if not item.get_closest_marker("library")]
    items.sort(
        key=lambda item: (
            item.get_closest_marker("last") is not None,
            bool(_ours(item, "session")),
            not isinstance(item, pytest.Function),
        )
    )
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))


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

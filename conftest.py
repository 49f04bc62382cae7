"""Order of the tests: what needs nothing first, what starts servers last, so that a slip shows within seconds."""

from __future__ import annotations

import pytest


def _needs_servers(item: pytest.Item) -> bool:
    """Whether it asks for one of our session-wide fixtures: those are what is dear to start."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return False
    used = (definitions[-1] for definitions in info.name2fixturedefs.values() if definitions)
    return any(one.scope == "session" and one.baseid for one in used)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_needs_servers(item), not isinstance(item, pytest.Function)))

"""What holds for all tests: what needs nothing runs first, what starts servers last, so that a slip shows within seconds."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A property holds or does not, however slow the machine is at that moment.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


def _needs_servers(item: pytest.Item) -> bool:
    """Whether it asks for one of our session-wide fixtures: those are what is dear to start."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return False
    used = (definitions[-1] for definitions in info.name2fixturedefs.values() if definitions)
    return any(one.scope == "session" and one.baseid for one in used)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (_needs_servers(item), not isinstance(item, pytest.Function)))

"""Servers of others that the sources' tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connectors.sources import caldav_world


@pytest.fixture(scope="session")
def radicale(tmp_path_factory: pytest.TempPathFactory) -> Iterator[caldav_world.Server]:
    with caldav_world.radicale(tmp_path_factory.mktemp("radicale")) as server:
        yield server

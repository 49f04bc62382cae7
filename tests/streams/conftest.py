"""The registry and the broker that these tests speak to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.streams.line import Line


@pytest.fixture(scope="session")
def registry_url(request: pytest.FixtureRequest) -> str:
    """The stack's; OO_TEST_REGISTRY_URL names one that runs already, which is quicker while one works on this room."""
    return os.environ.get("OO_TEST_REGISTRY_URL") or request.getfixturevalue("servers").cluster.registry_url


@pytest.fixture(scope="session")
def bootstrap(request: pytest.FixtureRequest) -> str:
    """A Kafka broker; OO_TEST_BOOTSTRAP names one that runs already."""
    return os.environ.get("OO_TEST_BOOTSTRAP") or request.getfixturevalue("servers").cluster.bootstrap


@pytest.fixture
def line(bootstrap: str, tmp_path: Path) -> Iterator[Line]:
    """A source, a sink and a group of two partitions, and what runs between them."""
    line = Line(bootstrap, tmp_path)
    yield line
    line.close()

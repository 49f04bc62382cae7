"""Edges that the tests of this folder share, each over a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.stack.running import RunningStack
from tests.serving.edges import LiveEdge
from tests.serving.valkeys import ValkeyServer


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer) -> Iterator[LiveEdge]:
    """An edge with Valkey only: reads and streams need no more."""
    with LiveEdge(tmp_path_factory.mktemp("edge"), valkey_url=valkey.url) as edge:
        yield edge


@pytest.fixture(scope="session")
def whole_edge(
    tmp_path_factory: pytest.TempPathFactory, valkey: ValkeyServer, servers: RunningStack
) -> Iterator[LiveEdge]:
    """An edge with everything behind it."""
    with LiveEdge(tmp_path_factory.mktemp("whole-edge"), valkey_url=valkey.url, stack=servers) as edge:
        edge.until_ready()
        yield edge

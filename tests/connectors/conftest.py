"""Servers that the connectors' tests share. It never patches anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connectors.postgres_cluster import Cluster, cluster


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("pg")) as running:
        yield running

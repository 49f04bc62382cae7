"""What holds for all tests of training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As training itself has it: a pool as wide as the machine spins on a busy one."""
    with threadpool_limits(limits=1):
        yield

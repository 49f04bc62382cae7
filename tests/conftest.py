"""The real servers, once for a whole test session, on loopback and in a temporary folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import oo

from deploy.stack.running import RunningStack, open_stack


@pytest.fixture(scope="session")
def servers() -> Iterator[RunningStack]:
    """Kafka, PostgreSQL, Valkey and the registry with topics, schemas and migrations in place; no process of ours.

    All tests of a session share them: use users, groups and topics of your own, or a prefix of your own.
    """
    with tempfile.TemporaryDirectory(prefix="oo-servers-") as folder:
        state = Path(folder) / "state"
        try:
            oo("up", "--detach", "--servers-only", f"--state={state}")
            yield open_stack(state)
        finally:
            oo("down", f"--state={state}")

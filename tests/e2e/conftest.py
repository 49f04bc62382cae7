"""A whole stack as a user starts it: servers, a worker of each kind, the edge. Shared by the tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import oo
from outside import SECURE
from playwright.sync_api import expect

from deploy.stack.running import RunningStack, open_stack
from tests.patience import PATIENCE_S

expect.set_options(timeout=PATIENCE_S * 1000)


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """Each test uses users of its own, so that none sees another's."""
    with tempfile.TemporaryDirectory(prefix="oo-e2e-") as folder:
        state = Path(folder) / "state"
        oo("up", "--detach", "--no-demo", *SECURE, f"--state={state}")
        try:
            yield open_stack(state)
        finally:
            oo("down", f"--state={state}")

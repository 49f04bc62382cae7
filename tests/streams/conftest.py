"""The registry that these tests speak to."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def registry_url() -> str:
    return os.environ["OO_TEST_REGISTRY_URL"]

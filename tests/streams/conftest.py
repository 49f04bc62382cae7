"""The registry that these tests speak to."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def registry_url(request: pytest.FixtureRequest) -> str:
    """The stack's; OO_TEST_REGISTRY_URL names one that runs already, which is quicker while one works on this room."""
    return os.environ.get("OO_TEST_REGISTRY_URL") or request.getfixturevalue("servers").registry_url

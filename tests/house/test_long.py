"""The list of long tests cannot rot: each names what holds its promise in every run, and that is a test of every run."""

from __future__ import annotations

import pytest

from tests.long import WITHOUT_STAND_IN


def test_each_long_test_that_was_collected_names_a_test_of_every_run(request: pytest.FixtureRequest) -> None:
    assert request.config.stash[WITHOUT_STAND_IN] == []

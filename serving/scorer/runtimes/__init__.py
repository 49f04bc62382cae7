"""What a version of a model is run by: one protocol, one file each."""

from __future__ import annotations

from typing import Protocol

from serving.scorer.wire import Floats


class Unusable(ValueError):
    """The files of a version are none that this runtime can run; one line that says why."""


class Failed(Exception):
    """A model did not answer; one line that says why."""


class Runtime(Protocol):
    """One version, loaded."""

    platform: str
    """What the protocol's metadata calls it."""
    d: int
    """How many features it takes."""

    async def infer(self, features: Floats) -> Floats:
        """(n, d) to (n,). Called for one batch at a time. Raises Failed."""

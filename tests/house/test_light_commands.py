"""A command that only reads starts at once: what it would need seconds to import, it does not import.

tests/e2e/test_elsewhere.py says the same of each command while it reads from a stack.
"""

from __future__ import annotations

import pytest
from light import READING, imported_heavily

from deploy.cli import COMMANDS

WRITING = {
    "up",
    "down",
    "import",
    "watch",
    "react",
    "token",
    "connect",
    "connections",
    "disconnect",
    "login",
    "simulate",
    "verify",
    "erase",
    "pseudonyms",
    "export",
    "keys",
    "lake",
    "privacy",
    "snapshots",
    "replay",
    "train",
    "models",
    "explain",
    "console",
}
"""What starts, writes, or needs what is heavy for what it counts."""


@pytest.mark.parametrize("name", [*(name for name, *_ in READING), "up", "down", "token", "verify", "console"])
def test_a_command_tells_its_options_without_importing_what_is_heavy(name: str) -> None:
    assert imported_heavily(name, "--help") == frozenset()


def test_every_command_reads_or_is_said_not_to() -> None:
    assert {name for name, *_ in READING} | WRITING == set(COMMANDS)


def test_what_is_heavy_is_found() -> None:
    assert "numba" in imported_heavily("simulate", "--list")

"""The scorer on this machine: trained models of the stack's registry, behind the Open Inference Protocol.

It never imports what runs models: that is in the process.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.stack import probes
from deploy.stack.processes import Command
from deploy.stack.state import LOOPBACK


@dataclass(frozen=True, slots=True)
class Scorer:
    """Where its files and ports are."""

    data: Path
    port: int
    registry_url: str
    env: Mapping[str, str]

    def prepare(self) -> Command:
        """Say how to start."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        told = {
            "OO_SCORER_HOST": LOOPBACK,
            "OO_SCORER_PORT": str(self.port),
            "OO_SCORER_REGISTRY_URL": self.registry_url,
            "OO_SCORER_KEPT_DIR": str(self.data / "models"),
            # No tip waits for it: a slate is scored for the decisions after it.
            "OO_SCORER_NICENESS": "10",
        }
        return Command(argv=(sys.executable, "-m", "serving.scorer"), env={**self.env, **told}, cwd=self.data)

    async def ready(self) -> bool:
        """Whether it answers; there may be no model yet."""
        return await probes.http(self.port, "/v2/health/live")


def url(port: int) -> str:
    """Of the scorer at this port.

    >>> url(8090)
    'http://127.0.0.1:8090'
    """
    return f"http://{LOOPBACK}:{port}"

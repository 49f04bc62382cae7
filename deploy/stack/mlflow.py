"""MLflow on this machine: tracking and the registry of models, on a database of its own in the stack's PostgreSQL, with artifacts in the state folder.

It never imports MLflow: its server is a process of its own.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack import probes, state
from deploy.stack.processes import Command
from deploy.stack.state import LOOPBACK

EXTRA = ("mlflow", "sklearn", "skl2onnx", "onnx", "onnxruntime", "matplotlib")
"""What the extra `ml` installs."""
HOW_TO_INSTALL = "run 'make setup', or 'uv sync --extra local --extra ml', where oO's source is"
ROLE = DATABASE = "mlflow"
READY_TIMEOUT_S = 300.0
"""It makes some fifty tables the first time, and imports for a quarter of a minute on a quiet machine; 162 s were seen on a busy one."""
ENVIRONMENT = {
    # Seven more processes that nobody here has work for.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


def not_installed() -> list[str]:
    """What the extra `ml` would bring and is not here."""
    return [name for name in EXTRA if importlib.util.find_spec(name) is None]


@dataclass(frozen=True, slots=True)
class Mlflow:
    """Where its files and ports are."""

    data: Path
    port: int
    postgres_port: int
    password: str = field(repr=False)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Its page, and its API below it."""
        return url(self.port)

    def prepare(self) -> Command:
        """Say how to start. The password goes by the environment: arguments can be read by everybody."""
        (self.data / "artifacts").mkdir(mode=0o700, parents=True, exist_ok=True)
        env = {
            **self.env,
            **ENVIRONMENT,
            "OO_MLFLOW_DSN": dsn(f"{LOOPBACK}:{self.postgres_port}", {ROLE: self.password}),
            "HOME": str(self.data),
        }
        return Command(argv=self.command(), env=env, cwd=self.data)

    def command(self) -> tuple[str, ...]:
        """What runs."""
        return sys.executable, "-m", "deploy.stack.mlflow_server", str(self.port), str(self.data / "artifacts")

    async def ready(self) -> bool:
        """Whether it answers; by then its tables are there."""
        return await probes.http(self.port, "/health")


def dsn(postgres: str, passwords: Mapping[str, str]) -> str:
    """What its server signs in to PostgreSQL with. It holds the password: it belongs in no log.

    >>> dsn("postgres:5432", {"mlflow": "a/b"})
    'postgresql+psycopg://mlflow:a%2Fb@postgres:5432/mlflow'
    """
    return state.dsn(ROLE, postgres, passwords, database=DATABASE).replace("postgresql:", "postgresql+psycopg:", 1)


def url(port: int) -> str:
    """Of the server at this port.

    >>> url(5000)
    'http://127.0.0.1:5000'
    """
    return f"http://{LOOPBACK}:{port}"

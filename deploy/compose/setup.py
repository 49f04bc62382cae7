"""What is done once between the containers' start and the workers': `python -m deploy.compose.setup STEP...`.

The steps are the local stack's own; only where the servers are differs. Doing one again changes nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.elsewhere import read
from deploy.stack.running import NotRunning, RunningStack
from deploy.stack.state import StateFolder
from deploy.steps import STEPS
from streams.settings import ClusterSettings


class Settings(ClusterSettings, BaseSettings):
    """What the steps are told; each needs only some of it."""

    model_config = SettingsConfigDict(env_prefix="OO_", extra="ignore")

    registry_url: str = ""
    postgres: str = ""
    """HOST:PORT."""
    postgres_passwords_file: Path | None = None
    """JSON: every role's password."""
    data_dir: Path = Path()
    kek_dir: Path | None = None
    vault_dir: Path | None = None


NEEDED = {
    "kek": ("kek_dir",),
    "vault": ("vault_dir",),
    "databases": ("postgres", "postgres_passwords_file"),
    "mlflow-database": ("postgres", "postgres_passwords_file"),
    "migrate": ("postgres", "postgres_passwords_file"),
    "schemas": ("registry_url",),
}
"""Settings, by step, beside Kafka's."""


def containers(*steps: str) -> RunningStack:
    """As docker-compose.yml names the servers in the environment; raises NotRunning for what is missing or wrong."""
    told = read(Settings, *(name for step in steps for name in NEEDED.get(step, ())))
    file = told.postgres_passwords_file
    passwords = {} if file is None else json.loads(file.read_text())
    return RunningStack(
        told.cluster,
        StateFolder(told.data_dir),
        kek_dir=told.kek_dir or Path(),
        vault_dir=told.vault_dir or Path(),
        postgres=told.postgres,
        passwords=passwords,
    )


def main() -> int:
    """Run the steps in the order given."""
    unknown = [name for name in sys.argv[1:] if name not in STEPS]
    if unknown or len(sys.argv) < 2:
        print(f"usage: python -m deploy.compose.setup {'|'.join(STEPS)} ...", file=sys.stderr)
        return 2
    try:
        stack = containers(*sys.argv[1:])
    except NotRunning as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    for name in sys.argv[1:]:
        STEPS[name](stack)
        print(f"setup.done step={name}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

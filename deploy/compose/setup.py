"""What is done once between the containers' start and the workers': `python -m deploy.compose.setup STEP...`.

The steps are the local stack's own; only where the servers are differs. Doing one again changes nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from deploy.stack.postgres import DATABASE
from deploy.stack.running import RunningStack
from deploy.stack.state import StateFolder
from deploy.steps import STEPS


@dataclass(frozen=True, slots=True)
class Containers(RunningStack):
    """The servers by the names that their containers have; each address is host:port."""

    kafka: str
    registry: str
    postgres: str

    @property
    def bootstrap(self) -> str:
        return self.kafka

    @property
    def registry_url(self) -> str:
        return self.registry

    def dsn(self, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}:{quote(self.passwords[role], safe='')}@{self.postgres}/{database}"


def containers(environment: Mapping[str, str]) -> Containers:
    """As docker-compose.yml names them in the environment; raises KeyError for what is missing."""
    return Containers(
        folder=StateFolder(Path(environment["OO_DATA_DIR"])),
        prefix=environment["OO_TOPIC_PREFIX"],
        ports={},
        passwords=json.loads(Path(environment["OO_POSTGRES_PASSWORDS_FILE"]).read_text()),
        kafka=environment["OO_KAFKA_BOOTSTRAP"],
        registry=environment["OO_REGISTRY_URL"],
        postgres=environment["OO_POSTGRES"],
    )


def main() -> int:
    """Run the steps in the order given."""
    unknown = [name for name in sys.argv[1:] if name not in STEPS]
    if unknown or len(sys.argv) < 2:
        print(f"usage: python -m deploy.compose.setup {'|'.join(STEPS)} ...", file=sys.stderr)
        return 2
    stack = containers(os.environ)
    for name in sys.argv[1:]:
        STEPS[name](stack)
        print(f"setup.done step={name}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

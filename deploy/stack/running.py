"""What a running stack offers to a client on this machine: addresses, and where the secrets stand.

It never starts anything, and never prints a secret.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from deploy.stack.postgres import DATABASE, Postgres
from deploy.stack.state import LOOPBACK, StateFolder
from streams.security import PLAINTEXT, Security

ISSUER = "https://oo.local"
AUDIENCE = "oo"
LOCAL_USER = "demo"
SHADOW_SETTINGS = ("OO_SHADOWS", "OO_GATE", "OO_UNSEEN_S", "OO_STALE_S")
"""What an operator may tell `shadow` from outside."""


class NotRunning(Exception):
    """No stack runs in this state folder, or it is not ready; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RunningStack:
    """Addresses of one local stack. `recommender_dsn` and the like hold passwords: they belong in no log."""

    folder: StateFolder
    prefix: str
    ports: dict[str, int]
    passwords: dict[str, str] = field(repr=False)

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.ports['kafka']}"

    @property
    def security(self) -> Security:
        """How a client proves who it is to this Kafka."""
        return PLAINTEXT

    @property
    def token(self) -> str | None:
        """An access token that was given; None where the local issuer makes one."""
        return None

    @property
    def registry_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['registry']}/apis/ccompat/v7"

    @property
    def valkey_url(self) -> str:
        return f"valkey://{LOOPBACK}:{self.ports['valkey']}/0"

    @property
    def edge_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['edge']}"

    def dsn(self, role: str, database: str = DATABASE) -> str:
        """PostgreSQL as this role: `recommender`, `history`, `postgres` (the superuser) ..."""
        return Postgres(self.folder.data("postgres"), self.ports["postgres"], self.passwords).dsn(role, database)

    def shown_dsn(self, role: str) -> str:
        """The same without the password, which libpq then takes from the state folder's password file."""
        return f"postgresql://{role}@{LOOPBACK}:{self.ports['postgres']}/{DATABASE}?passfile={quote(str(self.folder.passfile))}"

    @property
    def recommender_dsn(self) -> str:
        return self.dsn("recommender")

    @property
    def history_dsn(self) -> str:
        return self.dsn("history")

    @property
    def mac_key_file(self) -> Path:
        return self.folder.mac_key_file

    @property
    def signing_key_file(self) -> Path:
        return self.folder.signing_key_file

    @property
    def jwks_file(self) -> Path:
        return self.folder.jwks_file

    @property
    def issuer(self) -> str:
        return ISSUER

    @property
    def audience(self) -> str:
        return AUDIENCE

    def environment(self, part: str) -> dict[str, str]:
        """What a process of ours reads from its environment; `part` names its data folder and its health port."""
        environment = {
            "OO_KAFKA_BOOTSTRAP": self.bootstrap,
            "OO_REGISTRY_URL": self.registry_url,
            "OO_VALKEY_URL": self.valkey_url,
            "OO_TOPIC_PREFIX": self.prefix,
            "OO_RECOMMENDER_DSN": self.recommender_dsn,
            "OO_HISTORY_DSN": self.history_dsn,
            "OO_MAC_KEY_FILE": str(self.mac_key_file),
            "OO_JWT_ISSUER": ISSUER,
            "OO_JWT_AUDIENCE": AUDIENCE,
            "OO_JWKS_FILE": str(self.jwks_file),
            "OO_LOCAL": "1",
            "OO_LOCAL_SIGNING_KEY_FILE": str(self.signing_key_file),
            "OO_LOCAL_USER": LOCAL_USER,
            "OO_DATA_DIR": str(self.folder.data(part)),
            "OO_WORKER_ID": part,
        }
        if part.startswith("core"):
            environment["OO_STORE"] = os.environ.get("OO_STORE", "rocksdb")
        if part == "shadow":
            environment |= {name: os.environ[name] for name in SHADOW_SETTINGS if name in os.environ}
        if part == "edge":
            return {**environment, "OO_EDGE_HOST": LOOPBACK, "OO_EDGE_PORT": str(self.ports["edge"])}
        return {**environment, "OO_HEALTH_PORT": str(self.ports[part])} if part in self.ports else environment


def open_stack(root: Path, *, ready: bool = True) -> RunningStack:
    """The stack that runs in this state folder; raises NotRunning, also while it starts unless `ready` is False.

    A part that died and is being started again does not count: who needs that very part will hear of it.
    """
    folder = StateFolder(root.resolve())
    state = folder.read()
    if state is None or not folder.locked():
        raise NotRunning(f"no stack runs in {root}: start it with 'oo up', or name its folder with --state")
    if ready and state["phase"] != "ready":
        raise NotRunning(f"the stack in {root} is {state['phase']}: 'oo status' shows what it waits for")
    return RunningStack(folder, state["prefix"], state["ports"], folder.passwords())

"""A cluster that was not started here, by the settings that its own processes read: for operators' commands.

It starts nothing, and needs no state folder; what `oo import` remembers of files stands in one of the person's own.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.stack.running import NotRunning, RunningStack
from deploy.stack.state import StateFolder
from streams.security import Security
from streams.settings import KafkaSettings


class Settings(KafkaSettings, BaseSettings):
    """What `oo` is told of a cluster; each command needs only some of it."""

    model_config = SettingsConfigDict(env_prefix="OO_", extra="ignore")

    registry_url: str = ""
    """The schema registry's Confluent API, with its path. Needed by what writes: import, watch, profile, promote."""
    topic_prefix: str = "oo."
    """Before each topic's and group's name."""
    valkey_url: str = ""
    """Needed by verify."""
    recommender_dsn: SecretStr = SecretStr("")
    """Needed by verify."""
    mac_key_file: Path | None = None
    """Needed by verify."""
    edge_url: str = ""
    """Where the edge answers. Needed by tip and react."""
    token: SecretStr = SecretStr("")
    """An access token of the person. Needed by tip and react."""


class Elsewhere(RunningStack):
    """The same addresses as a local stack has. What a command needs and was not told raises NotRunning."""

    def __init__(self, told: Settings) -> None:
        super().__init__(StateFolder(Path.home() / ".local" / "state" / "oo"), told.topic_prefix, {}, {})
        object.__setattr__(self, "_told", told)

    _told: Settings

    @property
    def bootstrap(self) -> str:
        return self._told.kafka_bootstrap

    @property
    def security(self) -> Security:
        return self._told.security

    @property
    def registry_url(self) -> str:
        return _needed(self._told.registry_url, "OO_REGISTRY_URL")

    @property
    def valkey_url(self) -> str:
        return _needed(self._told.valkey_url, "OO_VALKEY_URL")

    @property
    def edge_url(self) -> str:
        return _needed(self._told.edge_url, "OO_EDGE_URL")

    @property
    def recommender_dsn(self) -> str:
        return _needed(self._told.recommender_dsn.get_secret_value(), "OO_RECOMMENDER_DSN")

    @property
    def mac_key_file(self) -> Path:
        return Path(_needed(str(self._told.mac_key_file or ""), "OO_MAC_KEY_FILE"))

    @property
    def token(self) -> str:
        """The person's own access token: no issuer of ours is there."""
        return _needed(self._told.token.get_secret_value(), "OO_TOKEN")


def elsewhere() -> Elsewhere:
    """Read the cluster from the environment; raises NotRunning with what is wrong."""
    try:
        return Elsewhere(Settings())
    except ValidationError as error:
        wrong = ", ".join(f"OO_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())
        raise NotRunning(f"the settings of the cluster are wrong: {wrong}") from None


def _needed(value: str, name: str) -> str:
    if not value:
        raise NotRunning(f"this command needs {name}, since OO_KAFKA_BOOTSTRAP names a cluster elsewhere")
    return value

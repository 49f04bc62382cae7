"""A cluster that was not started here, by the settings that its own processes read: for operators' commands.

It starts nothing, and needs no state folder; what `oo import` remembers of files stands in one of the person's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.stack.running import NotRunning, RunningStack
from deploy.stack.state import StateFolder
from streams.settings import ClusterSettings

T = TypeVar("T", bound=BaseSettings)


class Settings(ClusterSettings, BaseSettings):
    """What `oo` is told of a cluster; each command needs only some of it."""

    model_config = SettingsConfigDict(env_prefix="OO_", extra="ignore")

    registry_url: str = ""
    """The schema registry's Confluent API, with its path. Needed by what writes: import, watch, profile, promote;
    by what is noted in oo.audit: state --reveal, explain --reveal, export, dead-letters show and redrive, keys rotate,
    replay pause, resume, promote and run --topics."""
    valkey_url: str = ""
    """Needed by verify."""
    recommender_dsn: SecretStr = SecretStr("")
    """Needed by verify."""
    mac_key_file: Path | None = None
    """Needed by verify, explain, and by dead-letters redrive with --edit or --dry-run."""
    name_key_file: Path | None = None
    """The secret of pseudonyms. Needed by what names a person: import, watch, profile, state, erase, export, explain, privacy, simulate, and dead-letters."""
    kek_dir: Path | None = None
    """The folder of key-encryption keys. Needed by verify, state, explain, profile, simulate, keys, lake, and dead-letters
    redrive; list and show open letters with it."""
    row_snapshots_dir: Path | None = None
    """Where row snapshots are. Needed by snapshots, and by verify once the journal was trimmed."""
    as_password: SecretStr = SecretStr("")
    """The password of the role that `--as` names, where commands sign in to Kafka. Needed by policies promote, replay promote, replay run --topics,
    dead-letters redrive, keys rotate and simulate, and by console for sending letters again."""
    edge_url: str = ""
    """Where the edge answers. Needed by tip and react."""
    mlflow_url: str = ""
    """Where MLflow answers. Needed by train and models; without it they keep models in a folder."""
    token: SecretStr = SecretStr("")
    """An access token of the person. Needed by tip and react."""


def read(kind: type[T], *needed: str) -> T:
    """Read settings from the environment; raises NotRunning with what is wrong, or needed and not told."""
    try:
        told = kind()
    except ValidationError as error:
        wrong = ", ".join(f"OO_{'_'.join(map(str, one['loc'])).upper()}: {one['msg']}" for one in error.errors())
        raise NotRunning(f"the settings of the cluster are wrong: {wrong}") from None
    missing = ", ".join(f"OO_{name.upper()}" for name in needed if not getattr(told, name))
    if missing:
        raise NotRunning(f"this command needs {missing}, since OO_KAFKA_BOOTSTRAP names a cluster elsewhere")
    return told


def elsewhere(*needed: str) -> RunningStack:
    """The cluster that the environment names; raises NotRunning as `read` does."""
    told = read(Settings, *needed)
    return RunningStack(
        told.cluster,
        StateFolder(Path.home() / ".local" / "state" / "oo"),
        valkey_url=told.valkey_url,
        edge_url=told.edge_url,
        mlflow_url=told.mlflow_url,
        recommender_dsn=told.recommender_dsn.get_secret_value(),
        mac_key_file=told.mac_key_file or Path(),
        name_key_file=told.name_key_file or Path(),
        kek_dir=told.kek_dir or Path(),
        snapshots_dir=told.row_snapshots_dir,
        token=told.token.get_secret_value(),
        as_password=told.as_password.get_secret_value(),
    )

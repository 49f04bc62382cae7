"""What the scorer is told from outside, under the prefix OO_SCORER_; read once, by the composition root alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Names are those of the environment without the prefix, in lower case."""

    model_config = SettingsConfigDict(env_prefix="OO_SCORER_", extra="ignore")

    host: str = "127.0.0.1"
    """The address that the scorer listens on. Whoever reaches it may ask: let that be workers only."""
    port: int = 8090
    """The port that the scorer listens on."""
    models_dir: Path | None = None
    """A folder of models; this or MLflow."""
    registry_url: str | None = None
    """The MLflow server whose registry has the models; this or a folder."""
    kept_dir: Path
    """The scorer's own folder: copies of what it serves, so that a registry that is away takes no model away."""
    runtime: Literal["onnx", "numpy", "remote"] = "onnx"
    """What runs models: ONNX Runtime, numpy (linear ones only), or another server of the same protocol."""
    remote_url: str | None = None
    """That server, as `http://HOST:PORT`. Needed by the runtime remote."""
    poll_s: float = Field(2.0, gt=0)
    """How often the registry is asked which version is the champion."""
    versions_max: int = Field(8, ge=1)
    """Loaded versions that are no champion; past it the one that nobody asked for longest goes."""
    rows_max: int = Field(1024, ge=1)
    """Rows of a request, and of what runs together."""
    waiting_rows_max: int = Field(8192, ge=1)
    """Rows that may wait for a version; past it 429."""
    batch_wait_ms: float = Field(0.0, ge=0)
    """How long a request waits for company; 0: what is there goes."""
    timeout_ms: float = Field(1000.0, gt=0)
    """How long a request may take that says nothing of it; none may take longer than ten times that."""
    niceness: int = Field(0, ge=0, le=19)
    """How far it gives way to other processes of its machine once it has started."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.models_dir is None) == (self.registry_url is None):
            raise ValueError("set OO_SCORER_MODELS_DIR or OO_SCORER_REGISTRY_URL: where the models are")
        if self.runtime == "remote" and not self.remote_url:
            raise ValueError("the runtime remote needs OO_SCORER_REMOTE_URL")
        return self

"""What the edge is told from outside, under the prefix OO_; read once, by the composition root alone."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.settings import ClusterSettings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Settings(ClusterSettings, BaseSettings):
    """Names are those of the environment without the prefix, in lower case."""

    model_config = SettingsConfigDict(env_prefix="OO_", extra="ignore")

    edge_host: str = "127.0.0.1"
    """The address to listen on."""
    edge_port: int = 8080
    """The port to listen on."""

    valkey_url: str
    """Needed by publish; with a password in it, it belongs into a secret."""
    history_dsn: SecretStr | None = None
    """Absent: GET /v1/tips answers 503, all else works."""
    mac_key_file: Path
    """The key of decision ids, the same for core and edge. Needed by core."""
    name_key_file: Path
    """The secret of pseudonyms, the same for core and edge; an empty file leaves people the names that producers give them. Needed by core."""
    kek_dir: Path
    """The folder of key-encryption keys: what people's keys are wrapped with. Needed by core, record and shadow."""

    jwt_issuer: str
    """Whose access tokens are taken: their `iss`."""
    jwt_audience: str
    """For whom they have to be: their `aud`."""
    jwks_url: str | None = None
    """Where the issuer's keys are read, again and again; this or a file."""
    jwks_file: Path | None = None
    """The issuer's keys as a file."""

    local: bool = False
    """One machine, one trusted person: an issuer of its own, and a page that signs in by itself."""
    local_signing_key_file: Path | None = None
    """The key of the local issuer. Needed in local mode."""
    local_user: str = "demo"
    """Whom the page signs in in local mode."""
    local_any_host: bool = False
    """Local mode on an address that others can reach: anybody there is then the local user. For containers."""

    notifier_dsn: SecretStr | None = None
    """PostgreSQL as the role that keeps devices and what they were told. Needed by notify; the edge without it has no /v1/devices."""
    notify_public_key_file: Path | None = None
    """The public half of notify's key, a JWK: browsers subscribe with it, and words in notifications are verified. Needed with OO_NOTIFIER_DSN."""
    providers_file: Path | None = None
    """Who people may sign in with (docs/sign-in.md); absent: nobody signs in, and nothing of it is loaded."""
    auth_dsn: SecretStr | None = None
    """PostgreSQL as the role `auth`. Needed with providers."""
    auth_key_file: Path | None = None
    """The secret of identities and sessions, the same for every edge, and for nobody else. Needed with providers."""
    public_url: str | None = None
    """The edge's address as people's browsers know it, where the file of providers does not say it."""

    connections_dsn: SecretStr | None = None
    """PostgreSQL as the role `connections`; absent: nobody can connect anything."""
    vault_dir: Path | None = None
    """The folder of what connections' keys are wrapped with, apart from people's. Needed by connect."""
    connect_files: Path | None = None
    """The folder below which files may be connected; without it, none may: for connect."""
    oauth_file: Path | None = None
    """Who this oO is at the services that people sign in to, a TOML table a source (docs/connections.md). Needed by connect where there are any."""

    verified_file: Path | None = None
    """What `oo verify --in-turn` last found, for /metrics: `verified.json` of its state folder."""
    trace_share: float = Field(0.0, ge=0.0, le=1.0)
    """Of what producers and clients say to sample in a `traceparent`, the share that is traced; 0: nothing, and nothing of OpenTelemetry
    is loaded. Where spans go is said in its own settings, `OTEL_EXPORTER_OTLP_ENDPOINT` above all. For core, publish and edge, the same for all."""
    streams_max: int = 2_000
    """Open streams of one edge; past it 503."""
    streams_per_user_max: int = 8
    """Open streams of one person; past it 429."""
    heartbeat_s: float = 15.0
    """How often a silent stream says that it is alive."""
    stream_s_max: float = 3600.0
    """An open stream ends after this long; its client opens the next and goes on where it was."""

    @property
    def who(self) -> str:
        return "edge"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.local:
            if self.local_signing_key_file is None:
                raise ValueError("local mode needs OO_LOCAL_SIGNING_KEY_FILE")
            if self.edge_host not in LOOPBACK and not self.local_any_host:
                raise ValueError(
                    f"local mode signs in whoever comes, so it listens on loopback only, not on {self.edge_host};"
                    " set OO_EDGE_HOST=127.0.0.1, or OO_LOCAL_ANY_HOST=1 inside a container"
                )
        elif self.providers_file is None and self.jwks_url is None and self.jwks_file is None:
            raise ValueError("set OO_JWKS_URL or OO_JWKS_FILE: without keys no token can be verified")
        if self.providers_file is not None and (self.auth_dsn is None or self.auth_key_file is None):
            raise ValueError("people who sign in need OO_AUTH_DSN and OO_AUTH_KEY_FILE")
        if self.connections_dsn is not None and self.vault_dir is None:
            raise ValueError("people's connections need OO_VAULT_DIR")
        return self

"""What a worker is told from outside. It is read once, by agents.worker, and decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.settings import ClusterSettings
from streams.topics import JOURNAL_DAYS

Name = Literal["core", "publish", "record", "shadow", "generate", "score", "connect", "notify"]
NAMES: tuple[Name, ...] = get_args(Name)


HISTORY_DAYS = 365


class Settings(ClusterSettings, BaseSettings):
    """What a worker is told from outside, under the prefix OO_; read once."""

    model_config = SettingsConfigDict(env_prefix="OO_", extra="ignore")

    notifier_dsn: SecretStr | None = None
    """PostgreSQL as the role that keeps devices and what they were told. Needed by notify; the edge without it has no /v1/devices."""
    notify_key_file: Path | None = None
    """The key, a JWK of P-256, that says to push services who sends, and that signs what a notification's buttons say. Needed by notify."""
    notify_contact: str = "mailto:nobody@localhost"
    """Whom push services may turn to: mailto: or https:. For notify."""
    public_url: str = ""
    """Where people reach the edge, as https://HOST without a slash at its end: links in notifications lead there. For notify."""
    smtp_url: SecretStr | None = None
    """The mail server, as smtps://USER:PASSWORD@HOST:PORT, or smtp:// where it turns to TLS by STARTTLS; absent: no mail. For notify."""
    mail_from: str = "oO <oo@localhost>"
    """Whom mail is from. For notify."""
    mail_ca_file: Path | None = None
    """Who signs the mail server's certificate, where it is one of our own. For notify."""
    notify_inside: str = ""
    """Networks of its own that notify may send to, with commas between, as `127.0.0.0/8`: addresses come from people, so all others inside
    are refused."""
    valkey_url: str | None = None
    """Needed by publish and notify; with a password in it, it belongs into a secret."""
    recommender_dsn: SecretStr | None = None
    """PostgreSQL as the role that writes decisions. Needed by record."""
    integrations_dsn: SecretStr | None = None
    """PostgreSQL as the role that reads what people have connected. Needed by connect."""
    vault_dir: Path | None = None
    """The folder of what connections' keys are wrapped with, apart from people's. Needed by connect."""
    connect_inside: str = ""
    """Networks of its own that connect may read from, with commas between, as `127.0.0.0/8`: addresses come from people, so all others inside
    are refused."""
    connect_files: Path | None = None
    """The folder below which files may be connected; without it, none may: for connect."""
    oauth_file: Path | None = None
    """Who this oO is at the services that people sign in to, a TOML table a source (docs/connections.md). Needed by connect where there are any."""
    connect_lease_s: float = Field(30.0, ge=1.0)
    """How long a connection is out of reach after its worker died: for connect."""
    mac_key_file: Path | None = None
    """The key of decision ids, the same for core and edge. Needed by core."""
    name_key_file: Path | None = None
    """The secret of pseudonyms, the same for core and edge; an empty file leaves people the names that producers give them. Needed by core."""
    kek_dir: Path | None = None
    """The folder of key-encryption keys: what people's keys are wrapped with. Needed by core, record, shadow, generate, score and connect."""
    data_dir: Path
    """This process's own folder: rows on disk, and what it remembers between two starts."""
    schemas_file: Path | None = None
    """What the registry said to who registered the schemas, as the local stack keeps it: a start then asks nothing of it."""
    store: Literal["memory", "rocksdb"] = "rocksdb"
    """Where rows are kept: on disk under `data_dir`, or in this process's memory, read anew at each start."""
    row_snapshots_dir: Path | None = None
    """Where core puts row snapshots: a folder that all cores and operators share. Absent: it makes none, and the journal is never trimmed."""
    row_snapshots_every_s: float = 24 * 3600.0
    """How often each partition's rows are put away."""
    journal_days: int = Field(JOURNAL_DAYS, ge=1)
    """The age from which on `oo snapshots tend` trims the journal: for core, which keeps row snapshots of fitting ages; for `oo` likewise."""
    history_days: int = Field(HISTORY_DAYS, ge=1)
    """How old decisions and outcomes get in PostgreSQL: for record, which deletes what is older."""
    start_stuck_s: float = Field(120.0, ge=0.0)
    """How long a start may get no further before it says in the log what it waits for, and ends to be started anew; 0: as long as it likes."""
    worker_id: str
    """The process's fixed name in its group: a restart under it takes its partitions back at once. One whose name another takes
    ends with status 78, and is not to be started again."""
    set_aside_after: int = 3
    """Processes that ended one after the other over one record, before it is set aside; 0 for never."""
    health_host: str = "127.0.0.1"
    """Where probes and Prometheus reach this worker: 0.0.0.0 in a container."""
    health_port: int | None = None
    """Absent: no health page."""
    trace_share: float = Field(0.0, ge=0.0, le=1.0)
    """Of what producers and clients say to sample in a `traceparent`, the share that is traced; 0: nothing, and nothing of OpenTelemetry
    is loaded. Where spans go is said in its own settings, `OTEL_EXPORTER_OTLP_ENDPOINT` above all. For core, publish and edge, the same for all."""
    sums_every_s: float = 1.0
    """How often a partition's sums are published where they changed."""
    interrupt: bool = False
    """Whether tips are said to people who have granted it and do not look: for core, where `notify` runs."""
    prior_file: Path | None = None
    """What is known from elsewhere, made by `oo lake import --prior`: every policy version counts it beside what people teach. An absolute path. For core, the same for all."""
    versions_every_s: float = 10.0
    """The shortest time between two policy versions."""
    shadows: str = "mixed,lin_ts,linucb"
    """Policies that decide on every slate without being served, the champion among them; by name, with commas between."""
    shadow_sample: float = Field(1.0, ge=0.1, le=1.0)
    """With which probability shadows take a decision, from 0.1 to 1: for core, in whose versions it stands from the next one on."""
    gate: Literal["automatic", "by-hand"] = "automatic"
    """Whether a policy that is proven better takes over by itself, or only stands in `oo policies` as such."""
    unseen_s: float = 3600.0
    """How long after another took its place a decision may still be seen, and count for the gate."""
    stale_s: float = 24 * 3600.0
    """How long the gate waits for the reward of one decision."""
    snapshot_every_s: float = 10.0
    """How often the shadow puts away what it has taken, to go on from there at a start."""
    estimates_every_s: float = 2.0
    """How often the shadow publishes what policies would have earned."""
    scorer_url: str | None = None
    """A server of the Open Inference Protocol (v2) that has the trained models, as `http://HOST:PORT`. Needed by score."""
    scorer_deadline_s: float = Field(2.0, gt=0)
    """How long score waits for it."""
    llm_file: Path | None = None
    """A litellm.yaml, with the language models and the aliases that they are asked by. Needed by generate; where core has it, its
    versions ask for tips."""
    llm_prompts: str = "tips"
    """For core: the prompts that requests draw from, as NAME or NAME=WEIGHT with commas between."""
    llm_shadow_prompts: str = ""
    """For core: prompts that the model is asked with once more beside a share of all requests, as NAME=SHARE with commas between. Nobody is shown
    what they write: `oo prompts compare` tells of it."""
    embedder_file: Path | None = None
    """The jar of the model that says which written tips are near-duplicates; without it only equal words are."""
    llm_day_calls: int = Field(2_000, ge=0)
    """How many calls of each alias a day, by UTC, has over all people: for generate."""
    llm_at_once: int = Field(1, ge=1, le=64)
    """Calls that one generate has in flight; so many at most are paid again after it was killed."""
    llm_deadline_s: float = Field(20.0, gt=0)
    """How long generate waits for one call."""

    @property
    def who(self) -> str:
        return self.worker_id

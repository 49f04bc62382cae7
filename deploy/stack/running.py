"""What a stack offers to a client: addresses, and where the secrets stand; of a local one, or of one elsewhere.

It never starts anything, and never prints a secret.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from deploy.stack import mlflow, scorer
from deploy.stack.rights import ADMIN
from deploy.stack.secured import Secured, client_file
from deploy.stack.state import DATABASE, LOOPBACK, StateFolder, dsn
from streams.cluster import Cluster
from tables.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from tables.snapshots import Snapshots

ISSUER = "https://oo.local"
AUDIENCE = "oo"
LOCAL_USER = "demo"
SHADOW_SETTINGS = ("OO_SHADOWS", "OO_GATE", "OO_UNSEEN_S", "OO_STALE_S")
"""What an operator may tell `shadow` from outside."""
SHADOW_SAMPLE = "OO_SHADOW_SAMPLE"
"""Told to the cores: it is fixed in the versions that they make, before a decision is."""
HISTORY_DAYS = "OO_HISTORY_DAYS"
"""And `record`."""
TRACE_SHARE = "OO_TRACE_SHARE"
"""And core, publish and edge; OpenTelemetry's own settings, which say where spans go, go with it."""
CORE_SETTINGS = (
    SHADOW_SAMPLE,
    "OO_ROW_SNAPSHOTS_EVERY_S",
    "OO_JOURNAL_DAYS",
    "OO_PRIOR_FILE",
    "OO_LLM_PROMPTS",
    "OO_LLM_SHADOW_PROMPTS",
)
LLM_DEADLINE_S = "60"
"""Of a model on somebody's own machine, beside all else that runs there."""
GENERATE_SETTINGS = ("OO_LLM_DAY_CALLS", "OO_LLM_AT_ONCE", "OO_LLM_DEADLINE_S")
"""And `generate`."""


NOTIFY_SETTINGS = ("OO_SMTP_URL", "OO_MAIL_FROM", "OO_MAIL_CA_FILE", "OO_NOTIFY_CONTACT")
"""And `notify`."""

CONNECT_SETTINGS = ("OO_CONNECT_FILES", "OO_OAUTH_FILE")
"""And `connect` with the edge."""
HEARING_SHADOWS = "mixed,lin_ts,linucb,mixed_hearing"
"""Of a stack with trained models: the default ones, and the one that tells what hearing a model is worth."""


SECRETS = {
    "OO_VALKEY_URL": ("publish", "notify", "edge", "operator"),
    "OO_RECOMMENDER_DSN": ("record", "operator"),
    "OO_HISTORY_DSN": ("edge",),
    "OO_MAC_KEY_FILE": ("core", "edge", "operator"),
    "OO_NAME_KEY_FILE": ("core", "edge", "operator"),
    # Who opens what is sealed: not publish.
    "OO_KEK_DIR": ("core", "record", "shadow", "generate", "score", "connect", "notify", "edge", "operator"),
    "OO_LOCAL_SIGNING_KEY_FILE": ("edge",),
}
"""Who is told what of a secure stack; where nobody signs in, everybody is told all of it."""


class NotRunning(Exception):
    """No stack runs in this state folder, or it is not ready; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RunningStack:
    """Where everything is that a command speaks to. What is empty was not told, or does not run on this machine.

    `recommender_dsn` and the like hold passwords: they belong in no log.
    """

    cluster: Cluster
    folder: StateFolder
    """What is remembered of files that were sent, and all else of a local stack."""
    valkey_url: str = field(default="", repr=False)
    edge_url: str = ""
    mlflow_url: str = ""
    recommender_dsn: str = field(default="", repr=False)
    mac_key_file: Path = Path()
    name_key_file: Path = Path()
    kek_dir: Path = Path()
    vault_dir: Path = Path()
    snapshots_dir: Path | None = None
    """Of row snapshots. None where nobody said where they are."""
    token: str = field(default="", repr=False)
    """The person's access token; where none was given, the local issuer makes one."""
    as_password: str = field(default="", repr=False)
    """Of another role than the operator's, where that is asked for by name."""
    postgres: str = ""
    """HOST:PORT, for the roles whose passwords are known."""
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Of the parts that run on this machine."""
    llm_file: Path | None = None
    """The litellm.yaml of a stack that asks language models."""
    llm_prompts: str = ""
    """What requests draw from where nobody says otherwise; empty for the worker's own."""
    embedder_file: Path | None = None
    providers_file: Path | None = None
    """Who people sign in with; None where nobody does."""
    secured: Secured | None = None
    """How the roles of a secure local stack sign in. What stands in `cluster` and `valkey_url` is then the operator's."""

    @classmethod
    def local(
        cls,
        folder: StateFolder,
        prefix: str,
        ports: Mapping[str, int],
        passwords: Mapping[str, str],
        secured: Secured | None = None,
    ) -> RunningStack:
        """The stack of a state folder."""
        postgres = f"{LOOPBACK}:{ports['postgres']}"
        stack = cls(
            Cluster(
                f"{LOOPBACK}:{ports['kafka']}",
                prefix=prefix,
                registry_url=f"http://{LOOPBACK}:{ports['registry']}/apis/ccompat/v7",
            ),
            folder,
            valkey_url=f"valkey://{LOOPBACK}:{ports['valkey']}/0",
            edge_url=f"http://{LOOPBACK}:{ports['edge']}" if "edge" in ports else "",
            mlflow_url=mlflow.url(ports["mlflow"]) if "mlflow" in ports else "",
            recommender_dsn=dsn("recommender", postgres, passwords),
            mac_key_file=folder.mac_key_file,
            name_key_file=folder.name_key_file,
            kek_dir=folder.kek_dir,
            vault_dir=folder.vault_dir,
            snapshots_dir=folder.snapshots_dir,
            postgres=postgres,
            passwords=passwords,
            ports=ports,
            secured=secured,
        )
        return stack.as_role("operator")

    def pseudonym(self, user: str) -> str:
        """What this person is called behind the door: for every topic there, Valkey and PostgreSQL."""
        return Pseudonyms.in_file(self.name_key_file).of(user)

    def snapshots(self, journal_id: bytes) -> Snapshots:
        """The row snapshots of this journal. Raises NotRunning where nobody said where they are."""
        if self.snapshots_dir is None:
            raise NotRunning("row snapshots are needed, and nobody said where they are: set OO_ROW_SNAPSHOTS_DIR")
        from tables.snapshots import Snapshots

        return Snapshots(self.snapshots_dir, prefix=self.cluster.prefix, journal_id=journal_id)

    def as_role(self, role: str) -> RunningStack:
        """The same, signed in to Kafka and Valkey as this role; where nobody signs in, or the roles are not ours, as it is."""
        if self.secured is None:
            return self
        return replace(
            self,
            cluster=replace(self.cluster, security=self.secured.security(role)),
            valkey_url=self.secured.valkey_url(self.ports["valkey"], role),
        )

    def as_named(self, role: str, such_as: str) -> RunningStack:
        """The same, signed in to Kafka as the role that somebody named, who may write what the operator may not, as this one may.

        Where nobody signs in, as it is. Raises NotRunning where no role was named, or its password is not known.
        """
        security = self.cluster.security
        if not security.protocol.startswith("SASL"):
            return self
        if not role:
            raise NotRunning(f"{security.username} may not write this: name who may, such as --as {such_as}")
        if self.secured is not None:
            if role not in self.secured.kafka:
                raise NotRunning(f"there is no role {role}: there are {', '.join(sorted(self.secured.kafka))}")
            return self.as_role(role)
        if not self.as_password:
            raise NotRunning(f"the password of {role} is needed: set OO_AS_PASSWORD")
        named = replace(security, username=role, password=self.as_password)
        return replace(self, cluster=replace(self.cluster, security=named))

    @property
    def as_admin(self) -> RunningStack:
        """Signed in as who makes topics, users and rights."""
        return self.as_role(ADMIN)

    @property
    def producer_file(self) -> Path | None:
        """What a producer on this machine signs in with; None where it need not."""
        return None if self.secured is None else client_file(self.folder, "producer")

    @property
    def shown_valkey_url(self) -> str:
        """Without a password."""
        scheme, _, address = self.valkey_url.partition("://")
        return f"{scheme}://{address.rpartition('@')[2]}"

    def dsn(self, role: str, database: str = DATABASE) -> str:
        """PostgreSQL as this role: `recommender`, `history`, `postgres` (the superuser) ..."""
        return dsn(role, self.postgres, self.passwords, database=database)

    def shown_dsn(self, role: str) -> str:
        """The same without the password, which libpq then takes from the state folder's password file."""
        return f"postgresql://{role}@{self.postgres}/{DATABASE}?passfile={quote(str(self.folder.passfile))}"

    @property
    def sources(self) -> Path:
        """Where is kept what was sent of each file."""
        return self.folder.root / "sources"

    @property
    def signing_key_file(self) -> Path:
        return self.folder.signing_key_file

    @property
    def issuer(self) -> str:
        return ISSUER

    @property
    def audience(self) -> str:
        return AUDIENCE

    @property
    def own_networks(self) -> str:
        """What addresses that people give may lead to inside: this machine for whoever may start this, nothing where strangers sign in."""
        return "" if self.providers_file is not None else "127.0.0.0/8,::1/128"

    def environment(self, part: str) -> dict[str, str]:
        """What a process of ours reads from its environment; `part` names its data folder and its health port.

        Of a secure stack it gets what its role needs, and no other secret; `part` may then be any role.
        """
        role = part.partition("-")[0]
        own = self.as_role(role)
        environment = {
            "OO_KAFKA_BOOTSTRAP": self.cluster.bootstrap,
            "OO_REGISTRY_URL": self.cluster.registry_url,
            "OO_VALKEY_URL": own.valkey_url,
            "OO_TOPIC_PREFIX": self.cluster.prefix,
            "OO_RECOMMENDER_DSN": self.recommender_dsn,
            "OO_HISTORY_DSN": self.dsn("history"),
            "OO_MAC_KEY_FILE": str(self.mac_key_file),
            "OO_NAME_KEY_FILE": str(self.name_key_file),
            "OO_KEK_DIR": str(self.kek_dir),
            "OO_JWT_ISSUER": ISSUER,
            "OO_JWT_AUDIENCE": AUDIENCE,
            "OO_JWKS_FILE": str(self.folder.jwks_file),
            "OO_LOCAL": "1",
            "OO_LOCAL_SIGNING_KEY_FILE": str(self.signing_key_file),
            "OO_LOCAL_USER": LOCAL_USER,
            "OO_SCHEMAS_FILE": str(self.folder.schemas_file),
            "OO_DATA_DIR": str(self.folder.data(part)),
            "OO_WORKER_ID": part,
        }
        if self.secured is not None:
            security = own.cluster.security
            environment |= {
                "OO_KAFKA_SECURITY_PROTOCOL": security.protocol,
                "OO_KAFKA_SASL_MECHANISM": security.mechanism,
                "OO_KAFKA_SASL_USERNAME": security.username,
                "OO_KAFKA_SASL_PASSWORD": security.password,
                "OO_KAFKA_CA_FILE": str(security.ca_file),
            }
            environment = {name: told for name, told in environment.items() if role in SECRETS.get(name, (role,))}
        if part.startswith("core"):
            environment["OO_STORE"] = os.environ.get("OO_STORE", "rocksdb")
            environment["OO_ROW_SNAPSHOTS_DIR"] = str(self.folder.snapshots_dir)
            environment |= {"OO_INTERRUPT": "1"} if "notify" in self.ports else {}
            environment |= {"OO_LLM_PROMPTS": self.llm_prompts} if self.llm_prompts else {}
            environment |= {name: os.environ[name] for name in CORE_SETTINGS if name in os.environ}
        if role in ("core", "generate") and self.llm_file is not None:
            environment["OO_LLM_FILE"] = str(self.llm_file)
        if role == "generate":
            environment["OO_LLM_DEADLINE_S"] = LLM_DEADLINE_S
            environment |= {name: os.environ[name] for name in GENERATE_SETTINGS if name in os.environ}
            environment |= {} if self.embedder_file is None else {"OO_EMBEDDER_FILE": str(self.embedder_file)}
        if role in ("core", "publish", "edge") and TRACE_SHARE in os.environ:
            environment |= {one: os.environ[one] for one in os.environ if one == TRACE_SHARE or one.startswith("OTEL_")}
        if part == "record" and HISTORY_DAYS in os.environ:
            environment[HISTORY_DAYS] = os.environ[HISTORY_DAYS]
        if role == "score" and "scorer" in self.ports:
            environment["OO_SCORER_URL"] = scorer.url(self.ports["scorer"])
        if part == "shadow":
            environment |= {"OO_SHADOWS": HEARING_SHADOWS} if "scorer" in self.ports else {}
            environment |= {name: os.environ[name] for name in SHADOW_SETTINGS if name in os.environ}
        if role in ("notify", "edge") and "notify" in self.ports:
            environment["OO_NOTIFIER_DSN"] = self.dsn("notifier")
        if role == "edge" and "notify" in self.ports:
            environment["OO_NOTIFY_PUBLIC_KEY_FILE"] = str(self.folder.notify_public_key_file)
        if role == "notify":
            environment["OO_NOTIFY_KEY_FILE"] = str(self.folder.notify_key_file)
            environment["OO_PUBLIC_URL"] = os.environ.get("OO_PUBLIC_URL", self.edge_url)
            environment["OO_NOTIFY_INSIDE"] = os.environ.get("OO_NOTIFY_INSIDE", self.own_networks)
            environment |= {name: os.environ[name] for name in NOTIFY_SETTINGS if name in os.environ}
        if role in ("connect", "edge") and "connect" in self.ports:
            environment["OO_VAULT_DIR"] = str(self.vault_dir)
            name, as_whom = (
                ("OO_CONNECTIONS_DSN", "connections") if role == "edge" else ("OO_INTEGRATIONS_DSN", "integrations")
            )
            environment[name] = self.dsn(as_whom)
            environment |= {name: os.environ[name] for name in CONNECT_SETTINGS if name in os.environ}
        if role == "connect":
            environment["OO_CONNECT_INSIDE"] = os.environ.get("OO_CONNECT_INSIDE", self.own_networks)
        if part == "edge" and self.providers_file is not None:
            environment["OO_PROVIDERS_FILE"] = str(self.providers_file)
            environment["OO_AUTH_DSN"] = self.dsn("auth")
            environment["OO_AUTH_KEY_FILE"] = str(self.folder.auth_key_file)
        if part == "edge":
            environment["OO_VERIFIED_FILE"] = str(self.folder.verified_file)
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
    secured = Secured.of(folder) if state.get("secure") else None
    return RunningStack.local(folder, state["prefix"], state["ports"], folder.passwords(), secured)

"""The one folder that holds all state of a local stack: data, logs, secrets, ports, and who runs in it.

It never starts or ends a process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import secrets
import shutil
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from tables.pseudonyms import SECRET_BYTES, Pseudonyms

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the range that Linux gives to outgoing connections, so that none of those takes a part's port meanwhile."""
ROLES = (
    "postgres",
    "auth",
    "profile",
    "integrations",
    "recommender",
    "notifier",
    "registry",
    "history",
    "connections",
    "mlflow",
)
"""That log in to PostgreSQL; `postgres` is the superuser. connectors.postgres says what each may do."""


DATABASE = "oo"
"""In PostgreSQL, of all modules."""


class PortTaken(Exception):
    """A port that was asked for belongs to another program; one line."""


class SecretLost(Exception):
    """A secret that cannot be made anew is gone, or another one; one line."""


class AlreadyRunning(Exception):
    """Another supervisor holds this state folder."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths inside one state folder."""

    root: Path

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def state_file(self) -> Path:
        return self.root / "state.json"

    @property
    def schemas_file(self) -> Path:
        """What the registry said at the start."""
        return self.root / "schemas.json"

    @property
    def llm_file(self) -> Path:
        """The aliases of `oo up --llm`."""
        return self.root / "litellm.yaml"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def mac_key_file(self) -> Path:
        return self.secrets / "mac.key"

    @property
    def name_key_file(self) -> Path:
        """The secret of pseudonyms; empty in a folder from before there were any."""
        return self.secrets / "name.key"

    @property
    def kek_dir(self) -> Path:
        """Key-encryption keys, apart from everything that is backed up."""
        return self.root / "kek"

    @property
    def notify_key_file(self) -> Path:
        """What says to push services who sends, and signs words in notifications."""
        return self.secrets / "notify.json"

    @property
    def notify_public_key_file(self) -> Path:
        """Its public half, for the edge."""
        return self.secrets / "notify.public.json"

    @property
    def vault_dir(self) -> Path:
        """What connections' keys are wrapped with, likewise."""
        return self.root / "vault"

    @property
    def snapshots_dir(self) -> Path:
        """Row snapshots."""
        return self.root / "snapshots"

    @property
    def verified_file(self) -> Path:
        """When each partition was last verified."""
        return self.root / "verified.json"

    @property
    def auth_key_file(self) -> Path:
        """The secret of identities and sessions."""
        return self.secrets / "auth.key"

    @property
    def signing_key_file(self) -> Path:
        return self.secrets / "signing.jwk.json"

    @property
    def jwks_file(self) -> Path:
        return self.secrets / "jwks.json"

    @property
    def passwords_file(self) -> Path:
        return self.secrets / "postgres.json"

    @property
    def passfile(self) -> Path:
        return self.secrets / "pgpass"

    def data(self, part: str) -> Path:
        """Where one part keeps its data."""
        return self.root / "data" / part

    def create(self) -> None:
        """Makes the folder, for its owner alone."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self.moved_dir, ignore_errors=True)
        for folder in (self.root / "data", self.logs, self.secrets, self.kek_dir, self.vault_dir):
            folder.mkdir(mode=0o700, exist_ok=True)

    def close_to_others(self) -> None:
        """Takes from others what an older oO left open to them; what runs here goes on.

        A group may keep passing through the folder to `data`, where root has let PostgreSQL's own user in.
        """
        for path in (self.root, *self.root.iterdir(), *(self.root / "data").iterdir()):
            mode = path.lstat().st_mode
            kept = 0o710 if path in (self.root, self.root / "data") else 0o700
            if not stat.S_ISLNK(mode) and mode & 0o077 & ~kept:
                with contextlib.suppress(PermissionError):
                    path.chmod(stat.S_IMODE(mode) & kept)

    def lock(self) -> IO[bytes]:
        """Takes the folder for this process until the file is closed; raises AlreadyRunning when it is taken."""
        handle = (self.root / "lock").open("ab")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise AlreadyRunning(str(self.root)) from None
        return handle

    def locked(self) -> bool:
        """Whether a supervisor runs here."""
        if not (self.root / "lock").exists():
            return False
        try:
            self.lock().close()
        except AlreadyRunning:
            return True
        return False

    def read(self) -> dict[str, Any] | None:
        """What the supervisor last wrote, or None before the first start."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return None
        return state

    def write(self, state: Mapping[str, Any]) -> None:
        """Replaces the state file at once, so that a reader never sees half of it."""
        write_private(self.state_file, json.dumps(state, indent=1).encode())

    def ports(self, names: Iterable[str], given: Mapping[str, int] | None = None) -> dict[str, int]:
        """A loopback port for each name: the given one, else the one of last time if it is still free, else a new one.

        Raises PortTaken where a given one is not free.
        """
        path, wanted = self.root / "ports.json", given or {}
        known: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        chosen: dict[str, int] = {}
        for name in names:
            port = wanted.get(name) or known.get(name)
            if name in wanted and not is_free(wanted[name]):
                raise PortTaken(f"port {port} is taken by another program: give {name} another one, or none")
            if port is None or not is_free(port):
                port = free_port(taken=(*chosen.values(), *wanted.values()))
            chosen[name] = port
        known.update(chosen)
        write_private(path, json.dumps(known, indent=1).encode())
        return chosen

    def passwords(self) -> dict[str, str]:
        """The password of every PostgreSQL role, made once."""
        known = self.words("postgres", ROLES)
        if not self.passfile.exists() or len(self.passfile.read_text().splitlines()) != len(known):
            lines = [f"*:*:*:{role}:{password}\n" for role, password in sorted(known.items())]
            write_private(self.passfile, "".join(lines).encode())
        return known

    def words(self, server: str, roles: Iterable[str]) -> dict[str, str]:
        """The password of every role of a server, made once."""
        path = self.secrets / f"{server}.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        missing = [role for role in roles if role not in known]
        if missing:
            known.update({role: secrets.token_urlsafe(24) for role in missing})
            write_private(path, json.dumps(known, indent=1).encode())
        return known

    def keys(self) -> None:
        """Makes, once, the secret of pseudonyms, the key of the decision ids' MAC, the secret of sign-in, the first key-encryption key, and the local issuer's
        signing key with its public JWKS."""
        for folder in (self.kek_dir, self.vault_dir):
            if not any(folder.glob("*")):
                from connectors.key_files import KeyFiles

                KeyFiles(folder).make()
        self._name_key()
        if not self.mac_key_file.exists():
            write_private(self.mac_key_file, secrets.token_bytes(32))
        if not (self.notify_key_file.exists() and self.notify_public_key_file.exists()):
            from joserfc.jwk import ECKey

            key = ECKey.generate_key("P-256", private=True)
            write_private(self.notify_key_file, json.dumps(key.as_dict(private=True)).encode())
            write_private(self.notify_public_key_file, json.dumps(key.as_dict(private=False)).encode())
        if not self.auth_key_file.exists():
            write_private(self.auth_key_file, secrets.token_bytes(32))
        if not (self.signing_key_file.exists() and self.jwks_file.exists()):
            from joserfc.jwk import ECKey

            key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, private=True)
            key.ensure_kid()
            write_private(self.signing_key_file, json.dumps(key.as_dict(private=True)).encode())
            write_private(self.jwks_file, json.dumps({"keys": [key.as_dict(private=False)]}).encode())

    @property
    def moving_dir(self) -> Path:
        """Where a move to pseudonyms keeps what it writes later (deploy/moving.py)."""
        return self.root / "moving"

    @property
    def moved_dir(self) -> Path:
        """What is left of it where it was cut off while it cleared up: for the next start to take away."""
        return self.root / "moved"

    @property
    def is_moving(self) -> bool:
        """Whether such a move is past the point from which it has to go on."""
        return (self.moving_dir / "staged.done").exists()

    def use_name_key(self, secret: bytes) -> None:
        """Take another secret of pseudonyms, in a folder in which everything was renamed."""
        (self.root / "name.id").unlink(missing_ok=True)
        write_private(self.name_key_file, secret)
        self._name_key()

    def _name_key(self) -> None:
        """Makes the secret of pseudonyms, once and for all: what stands here was written under it. Raises SecretLost."""
        noted = self.root / "name.id"
        if not self.name_key_file.exists() and not noted.exists():
            # The journal of a folder from before has people's own names, and goes on with them.
            write_private(self.name_key_file, b"" if self.mac_key_file.exists() else secrets.token_bytes(SECRET_BYTES))
        known = Pseudonyms.in_file(self.name_key_file) if self.name_key_file.exists() else None
        if not noted.exists() and known is not None:
            write_private(noted, known.id.encode())
        if known is None or noted.read_text() != known.id:
            raise SecretLost(
                f"{self.name_key_file} is not the one that people's pseudonyms here were made with: bring that back from where it "
                "is kept. With another nobody is found again, and everybody would begin anew"
            )


def dsn(role: str, address: str, passwords: Mapping[str, str], *, database: str = DATABASE) -> str:
    """A role's connection string. It holds the password: it belongs in no log.

    >>> dsn("history", "postgres:5432", {"history": "a/b"})
    'postgresql://history:a%2Fb@postgres:5432/oo'
    """
    return f"postgresql://{role}:{quote(passwords[role], safe='')}@{address}/{database}"


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, in one step."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(*, taken: Iterable[int] = ()) -> int:
    """A free loopback port; nothing keeps it free until somebody listens on it."""
    avoided = set(taken)
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if port not in avoided and is_free(port):
            return port
    raise RuntimeError(f"no free port on {LOOPBACK} between {PORTS.start} and {PORTS.stop}")

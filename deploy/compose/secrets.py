"""Makes the secrets that docker-compose.yml, and docker-compose.ml.yml beside it, mount: `python -m deploy.compose.secrets [DIR]`.

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
        "OO_RECOMMENDER_DSN": dsn("recommender", POSTGRES, passwords),
        "OO_HISTORY_DSN": dsn("history", POSTGRES, passwords),
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
    ]
    for path in made:
        path.chmod(0o444)
    return made


def main() -> int:
    """Make them and say where they are."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    made = make(directory)
    print(f"{len(made)} secrets in {made[0].parent}; now: docker compose up --build --wait")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

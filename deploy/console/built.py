"""Says from which sources the committed page was built, and writes the app's OpenAPI document, which its types are made of.

python -m deploy.console.built openapi    before a build
python -m deploy.console.built note       after it
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from deploy.console.access import Access
from deploy.console.app import STATIC, create_app
from deploy.stack.running import RunningStack
from deploy.stack.state import StateFolder
from streams.cluster import Cluster

PAGE = STATIC.parent / "page"
OPENAPI = PAGE / "openapi.json"
NOTE = STATIC / "built-from.txt"
SOURCES = (
    "index.html",
    "openapi.json",
    "package-lock.json",
    "package.json",
    "tsconfig.json",
    "vite.config.ts",
    "src/**/*",
)


def openapi() -> str:
    """The document of the app as it is now."""
    nowhere = RunningStack(Cluster("127.0.0.1:1"), StateFolder(Path()))
    return json.dumps(create_app(nowhere, Access(cookie="")).openapi(), indent=1, sort_keys=True) + "\n"


def digest() -> str:
    """Over the names and bytes of all sources of the page."""
    whole = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in PAGE.glob(pattern) if path.is_file()):
        whole.update(f"{path.relative_to(PAGE)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


if __name__ == "__main__":
    if sys.argv[1:] == ["openapi"]:
        OPENAPI.write_text(openapi())
    elif sys.argv[1:] == ["note"]:
        NOTE.write_text(digest() + "\n")
    else:
        raise SystemExit(__doc__)

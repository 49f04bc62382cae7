"""What the tests marked `library` have last been passed with: they show a pinned library's own faults, and our mends of them.

Nothing here runs them. While nothing that they rest on has changed, a run of all tests leaves them out; `make library`
runs them whatever has changed, and records what they passed with.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "proven.txt"
LIBRARIES = {"aiokafka", "confluent-kafka", "faust-streaming", "mode-streaming"}


def digest(root: Path = ROOT) -> str:
    """Of the libraries' locked versions, the broker's lock, our driver, and the tests of its room."""
    found = sha256()
    for part in _parts(root):
        found.update(sha256(part).digest())
    return found.hexdigest()


def _parts(root: Path) -> Iterator[bytes]:
    for one in tomllib.loads((root / "uv.lock").read_text())["package"]:
        if one["name"] in LIBRARIES:
            yield f"{one['name']} {one['version']}".encode()
    yield (root / "deploy" / "stack" / "kafka.lock.toml").read_bytes()
    for folder in ("streams", "tests/streams"):
        for path in sorted((root / folder).glob("*.py")):
            yield path.name.encode()
            yield path.read_bytes()


def stands(root: Path = ROOT) -> bool:
    """Whether they have been passed with what is here now."""
    record = root / RECORD.relative_to(ROOT)
    return record.exists() and record.read_text().strip() == digest(root)


if __name__ == "__main__":
    RECORD.write_text(digest() + "\n")

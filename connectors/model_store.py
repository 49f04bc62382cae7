"""Where whoever serves models finds them: the protocol of reading, and copies that are kept of what is served.

`FolderRegistry` and `MlflowStore` are such stores. It never runs a model, and writes nothing into a store.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from connectors.model_registry import ABOUT, ALIASES, MODEL, RegistryFault, Version

log = logging.getLogger(__name__)
DIGEST = "digest.json"
"""In a kept copy: what its files' SHA-256 were when it came."""


class ModelStore(Protocol):
    """Each call may take seconds, and may raise RegistryFault."""

    def names(self) -> list[str]:
        """The models that there are."""

    def aliased(self, name: str, alias: str) -> int | None:
        """Return which version an alias names; None where there is no such alias, or model."""

    def fetch(self, name: str, version: int) -> Path:
        """Return a folder with the version's files, `model.onnx` and `model.json` among them, whole. What is in it never changes."""

    def versions(self, name: str = "") -> Sequence[Version]:
        """Those of a model, or of all, by name and number."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A store that keeps a copy of all that was fetched, and what it last heard: a registry that is away, or has lost files, takes nothing away.

    Only what the registry no longer lists goes, by `prune`. FOLDER/NAME/VERSION, and FOLDER/NAME/aliases.json.
    """

    store: ModelStore
    folder: Path

    def names(self) -> list[str]:
        """See ModelStore; those of which there is a copy, where the store does not answer."""
        try:
            return self.store.names()
        except RegistryFault as fault:
            log.warning("models.store-away fault=%s", fault)
            return sorted(one.name for one in self.folder.glob("*") if one.is_dir())

    def aliased(self, name: str, alias: str) -> int | None:
        """See ModelStore; what it last said, where it does not answer."""
        path = self.folder / name / ALIASES
        try:
            last: dict[str, int | None] = json.loads(path.read_text())
        except (OSError, ValueError):
            last = {}
        try:
            version = self.store.aliased(name, alias)
        except RegistryFault as fault:
            if alias not in last:
                raise
            log.warning("models.store-away fault=%s", fault)
            return last[alias]
        if alias not in last or last[alias] != version:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_name(f".{ALIASES}.{os.getpid()}")
            fresh.write_text(json.dumps({**last, alias: version}))
            fresh.replace(path)
        return version

    def fetch(self, name: str, version: int) -> Path:
        """See ModelStore. A copy whose files are no longer what they were is fetched again."""
        home = self.folder / name / str(version)
        if (home / DIGEST).exists():
            if digests(home) == json.loads((home / DIGEST).read_text()):
                return home
            log.warning("models.copy-damaged model=%s@%d", name, version)
            shutil.rmtree(home, ignore_errors=True)
        files = self.store.fetch(name, version)
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=home.parent) as fresh:
            made = Path(fresh) / "version"
            try:
                shutil.copytree(files, made)
                said = json.loads((made / ABOUT).read_text()).get("sha256")
                found = digests(made)
            except (OSError, ValueError, AttributeError, shutil.Error) as error:
                raise RegistryFault(
                    f"{name}@{version} cannot be read ({type(error).__name__}): 'oo train' makes a new version"
                ) from error
            if MODEL not in found or said not in (None, found[MODEL]):
                raise RegistryFault(
                    f"{MODEL} of {name}@{version} is not the file that was registered: 'oo train' makes a new version"
                )
            (made / DIGEST).write_text(json.dumps(found))
            with suppress(OSError):  # Somebody was quicker.
                made.rename(home)
        return home

    def versions(self, name: str = "") -> Sequence[Version]:
        """See ModelStore."""
        return self.store.versions(name)

    def prune(self, name: str) -> None:
        """Take away the copies of versions that the store no longer lists: who was erased may have been in them."""
        listed = {one.version for one in self.store.versions(name)}
        for one in (self.folder / name).glob("[0-9]*"):
            if int(one.name) not in listed:
                shutil.rmtree(one, ignore_errors=True)


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each of a version's files, by its path in the folder."""
    return {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in sorted(folder.rglob("*"))
        if one.is_file() and one.name != DIGEST
    }

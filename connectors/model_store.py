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
from pathlib import Path
from typing import Protocol

from connectors.model_registry import ABOUT, ALIASES, MODEL, NAME, RegistryFault, Version

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


class Kept:
    """A store that keeps a copy of all that was fetched, and what it last heard: a registry that is away, or has lost files, takes nothing away.

    Only what the registry no longer lists goes, by `prune`. FOLDER/NAME/VERSION, and FOLDER/NAME/aliases.json. A store whose own copies are
    in this folder too shares them.
    """

    def __init__(self, store: ModelStore, folder: Path) -> None:
        self._store, self._folder = store, folder
        self.away = False
        """Whether the store did not answer the last question."""

    def names(self) -> list[str]:
        """See ModelStore; those of which there is a copy, where the store does not answer."""
        try:
            found = self._store.names()
        except RegistryFault as fault:
            self._lost(fault)
            return self._copied()
        self.away = False
        return found

    def aliased(self, name: str, alias: str) -> int | None:
        """See ModelStore; what it last said, where it does not answer."""
        path = self._folder / name / ALIASES
        try:
            last: dict[str, int | None] = json.loads(path.read_text())
        except (OSError, ValueError):
            last = {}
        try:
            version = self._store.aliased(name, alias)
        except RegistryFault as fault:
            if alias not in last:
                raise
            self._lost(fault)
            return last[alias]
        if last.get(alias) != version:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_name(f".{ALIASES}.{os.getpid()}")
            fresh.write_text(json.dumps({**last, alias: version}))
            fresh.replace(path)
        return version

    def fetch(self, name: str, version: int) -> Path:
        """See ModelStore. A copy whose files are no longer what they were is fetched again."""
        home = self._folder / name / str(version)
        if (home / DIGEST).exists():
            if digests(home) == json.loads((home / DIGEST).read_text()):
                return home
            log.warning("models.copy-damaged model=%s@%d", name, version)
            shutil.rmtree(home, ignore_errors=True)
        files = self._store.fetch(name, version)
        home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=home.parent) as fresh:
            made = Path(fresh) / "version"
            try:
                (files.rename if files == home else lambda to: shutil.copytree(files, to))(made)
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

    def prune(self) -> dict[str, set[int]]:
        """Take away the copies of versions that the store no longer lists: who was erased may have been in them. Return those that it lists of
        each model that has a copy."""
        listed = {}
        for name in self._copied():
            listed[name] = {one.version for one in self._store.versions(name)}
            for one in (self._folder / name).glob("[0-9]*"):
                if int(one.name) not in listed[name]:
                    shutil.rmtree(one, ignore_errors=True)
        return listed

    def _copied(self) -> list[str]:
        return sorted(one.name for one in self._folder.glob("*") if one.is_dir() and NAME.fullmatch(one.name))

    def _lost(self, fault: RegistryFault) -> None:
        if not self.away:
            log.warning("models.store-away fault=%s", fault)
        self.away = True


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each of a version's files, by its path in the folder."""
    return {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in sorted(folder.rglob("*"))
        if one.is_file() and one.name != DIGEST
    }

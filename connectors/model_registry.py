"""Where versions of models are put and named: the protocol of whoever trains, and a folder that keeps it.

A version is whole or not there. It is a folder of files, `model.onnx` and `model.json` among them; the latter says what it was made from. It never
runs a model.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

MODEL, ABOUT, ALIASES = "model.onnx", "model.json", "aliases.json"
CHALLENGER, CHAMPION = "challenger", "champion"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class RegistryFault(Exception):
    """The registry cannot do what it was asked; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model."""

    name: str
    version: int
    about: Mapping[str, Any]
    """What its model.json says."""
    aliases: tuple[str, ...] = ()

    @property
    def spelled(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"


class ModelRegistry(Protocol):
    """Each call may raise RegistryFault."""

    def versions(self, name: str = "") -> list[Version]:
        """Those of a model, or of all, by name and number."""

    def register(self, name: str, files: Path) -> int:
        """Take a copy of this folder as the model's next version, whose number is returned. What fails leaves no version behind."""

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let this alias name that version, and no other one."""

    def drop_alias(self, name: str, alias: str) -> None:
        """Let this alias name no version."""

    def remove(self, name: str, version: int) -> None:
        """Take a version and all its files away, and every alias that names it."""


def parsed(spelled: str) -> tuple[str, int | None]:
    """Read NAME or NAME@VERSION. Raises RegistryFault.

    >>> parsed("tips@3"), parsed("tips")
    (('tips', 3), ('tips', None))
    """
    name, at, version = spelled.partition("@")
    if not NAME.fullmatch(name) or (at and not (version.isdecimal() and int(version) > 0)):
        raise RegistryFault(
            f"{spelled!r} names no model: write NAME or NAME@VERSION, with small letters, digits and hyphens"
        )
    return name, int(version) if at else None


@dataclass(frozen=True, slots=True)
class FolderRegistry:
    """FOLDER/NAME/VERSION, and FOLDER/NAME/aliases.json."""

    folder: Path

    def names(self) -> list[str]:
        """See connectors.model_store.ModelStore."""
        try:
            return sorted(one.name for one in self.folder.iterdir() if NAME.fullmatch(one.name))
        except FileNotFoundError:  # Nothing was registered yet.
            return []
        except OSError as error:
            raise self._unreadable(error) from error

    def aliased(self, name: str, alias: str) -> int | None:
        """Likewise."""
        try:
            return self._aliases(name).get(alias)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def fetch(self, name: str, version: int) -> Path:
        """Likewise."""
        home = self.folder / name / str(version)
        if not (home / ABOUT).exists():
            raise RegistryFault(f"there is no {name}@{version}: 'oo models list' shows those that are")
        return home

    def versions(self, name: str = "") -> list[Version]:
        """See ModelRegistry."""
        found = []
        for path in sorted(self.folder.glob(f"{name or '*'}/*/{ABOUT}")):
            if path.parent.name.isdecimal():
                number, aliases = int(path.parent.name), self._aliases(path.parents[1].name)
                named = tuple(sorted(alias for alias, one in aliases.items() if one == number))
                found.append(Version(path.parents[1].name, number, json.loads(path.read_text()), named))
        return sorted(found, key=lambda one: (one.name, one.version))

    def register(self, name: str, files: Path) -> int:
        """See ModelRegistry."""
        home = self.folder / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as fresh:
            made = Path(fresh) / "version"
            shutil.copytree(files, made)
            about = json.loads((made / ABOUT).read_text())
            about["sha256"] = hashlib.sha256((made / MODEL).read_bytes()).hexdigest()
            while True:
                number = 1 + max((int(one.name) for one in home.iterdir() if one.name.isdecimal()), default=0)
                number = max(number, self._highest(home) + 1)
                (made / ABOUT).write_text(json.dumps({**about, "name": name, "version": number}, indent=1) + "\n")
                # No number is given twice, also that of one which was removed.
                (home / "highest").write_text(str(number))
                with suppress(OSError):  # Somebody was quicker.
                    made.rename(home / str(number))
                    return number

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """See ModelRegistry."""
        self.fetch(name, version)
        self._write_aliases(name, {**self._aliases(name), alias: version})

    def drop_alias(self, name: str, alias: str) -> None:
        """See ModelRegistry."""
        self._write_aliases(name, {one: version for one, version in self._aliases(name).items() if one != alias})

    def remove(self, name: str, version: int) -> None:
        """See ModelRegistry."""
        self._write_aliases(name, {alias: one for alias, one in self._aliases(name).items() if one != version})
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder / name / str(version))

    def _aliases(self, name: str) -> dict[str, int]:
        try:
            return {alias: int(one) for alias, one in json.loads((self.folder / name / ALIASES).read_text()).items()}
        except FileNotFoundError:
            return {}

    def _write_aliases(self, name: str, aliases: Mapping[str, int]) -> None:
        path = self.folder / name / ALIASES
        fresh = path.with_name(f".{ALIASES}.{os.getpid()}")
        fresh.write_text(json.dumps(dict(sorted(aliases.items()))) + "\n")
        fresh.replace(path)

    def _unreadable(self, error: Exception) -> RegistryFault:
        return RegistryFault(
            f"the models in {self.folder} cannot be read ({type(error).__name__}): is it a folder that this user may read?"
        )

    def _highest(self, home: Path) -> int:
        try:
            return int((home / "highest").read_text())
        except (FileNotFoundError, ValueError):
            return 0

"""Where versions of models are read: a store's answers while it is there, and what is kept of them while it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from connectors.model_registry import CHAMPION, FolderRegistry, RegistryFault
from connectors.model_store import Kept


class Away(FolderRegistry):
    """A registry that nobody reaches."""

    def names(self) -> list[str]:
        raise RegistryFault("away")

    def aliased(self, name: str, alias: str) -> int | None:
        raise RegistryFault("away")

    def fetch(self, name: str, version: int) -> Path:
        raise RegistryFault("away")


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    made = FolderRegistry(tmp_path / "models")
    for said in "ab":
        files = tmp_path / said
        files.mkdir()
        (files / "model.onnx").write_bytes(said.encode())
        (files / "model.json").write_text("{}")
        made.register("tips", files)
    made.set_alias("tips", CHAMPION, 2)
    return made


def test_a_folder_says_its_names_aliases_and_files(registry: FolderRegistry) -> None:
    assert registry.names() == ["tips"]
    assert (registry.aliased("tips", CHAMPION), registry.aliased("tips", "other"), registry.aliased("x", "y")) == (
        2,
        None,
        None,
    )
    assert (registry.fetch("tips", 2) / "model.onnx").read_bytes() == b"b"
    with pytest.raises(RegistryFault, match="there is no tips@9"):
        registry.fetch("tips", 9)


def test_what_was_fetched_stays_while_the_registry_is_away_or_has_lost_it(
    registry: FolderRegistry, tmp_path: Path
) -> None:
    kept = Kept(registry, tmp_path / "kept")
    assert kept.aliased("tips", CHAMPION) == 2
    kept.fetch("tips", 2)
    shutil.rmtree(registry.folder / "tips" / "2")
    assert (kept.fetch("tips", 2) / "model.onnx").read_bytes() == b"b"
    away = Kept(Away(registry.folder), tmp_path / "kept")
    assert (away.names(), away.aliased("tips", CHAMPION)) == (["tips"], 2)
    assert (away.fetch("tips", 2) / "model.onnx").read_bytes() == b"b"
    with pytest.raises(RegistryFault, match="away"):
        away.aliased("tips", "other")
    with pytest.raises(RegistryFault, match="away"):
        away.fetch("tips", 1)


def test_another_file_than_was_registered_is_refused(registry: FolderRegistry, tmp_path: Path) -> None:
    (registry.folder / "tips" / "1" / "model.onnx").write_bytes(b"other")
    kept = Kept(registry, tmp_path / "kept")
    with pytest.raises(RegistryFault, match="not the file that was registered"):
        kept.fetch("tips", 1)
    assert list((tmp_path / "kept" / "tips").iterdir()) == []


def test_a_copy_that_was_damaged_is_fetched_again(registry: FolderRegistry, tmp_path: Path) -> None:
    kept = Kept(registry, tmp_path / "kept")
    (kept.fetch("tips", 2) / "model.onnx").write_bytes(b"other")
    assert (kept.fetch("tips", 2) / "model.onnx").read_bytes() == b"b"


def test_copies_go_with_the_version(registry: FolderRegistry, tmp_path: Path) -> None:
    kept = Kept(registry, tmp_path / "kept")
    copies = [kept.fetch("tips", number) for number in (1, 2)]
    registry.remove("tips", 1)
    assert kept.prune() == {"tips": {2}}
    assert [one.exists() for one in copies] == [False, True]
    assert json.loads((copies[1] / "model.json").read_text())["version"] == 2


class Shared(FolderRegistry):
    """A registry whose own copies are in the folder of those that are kept, as MLflow's are."""

    copies = Path()

    def fetch(self, name: str, version: int) -> Path:
        home = self.copies / name / str(version)
        if not home.exists():
            shutil.copytree(self.folder / name / str(version), home)
        return home


def test_copies_that_a_store_shares_are_kept_once_and_a_wrong_one_does_not_stay(
    registry: FolderRegistry, tmp_path: Path
) -> None:
    shared = Shared(registry.folder)
    object.__setattr__(shared, "copies", tmp_path / "kept")
    kept = Kept(shared, tmp_path / "kept")
    home = kept.fetch("tips", 2)
    assert home == tmp_path / "kept" / "tips" / "2" == kept.fetch("tips", 2)
    (registry.folder / "tips" / "1" / "model.onnx").write_bytes(b"other")
    with pytest.raises(RegistryFault, match="not the file that was registered"):
        kept.fetch("tips", 1)
    assert [one.name for one in (tmp_path / "kept" / "tips").iterdir()] == ["2"]

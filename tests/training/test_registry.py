"""A folder that keeps versions of models: whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.model_registry import FolderRegistry, RegistryFault, parsed


def files(folder: Path, said: str = "a") -> Path:
    made = folder / f"made-{said}"
    made.mkdir()
    (made / "model.onnx").write_bytes(said.encode())
    (made / "model.json").write_text(json.dumps({"said": said}))
    return made


def test_versions_count_up_and_no_number_comes_twice(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "models")
    assert registry.register("tips", files(tmp_path, "a")) == 1
    assert registry.register("tips", files(tmp_path, "b")) == 2
    assert registry.register("others", files(tmp_path, "c")) == 1
    registry.remove("tips", 2)
    assert registry.register("tips", files(tmp_path, "d")) == 3
    assert [one.spelled for one in registry.versions()] == ["others@1", "tips@1", "tips@3"]
    (first, _third) = registry.versions("tips")
    assert (first.about["name"], first.about["version"], first.about["said"]) == ("tips", 1, "a")
    assert (tmp_path / "models" / "tips" / "3" / "model.onnx").read_bytes() == b"d"


def test_an_alias_names_one_version_and_goes_with_it(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path / "models")
    for said in "ab":
        registry.register("tips", files(tmp_path, said))
    registry.set_alias("tips", "champion", 1)
    registry.set_alias("tips", "champion", 2)
    registry.set_alias("tips", "challenger", 2)
    assert [one.aliases for one in registry.versions("tips")] == [(), ("challenger", "champion")]
    registry.remove("tips", 2)
    assert [one.aliases for one in registry.versions("tips")] == [()]
    with pytest.raises(RegistryFault, match="there is no tips@2"):
        registry.set_alias("tips", "champion", 2)


@pytest.mark.parametrize("spelled", ["Tips", "tips@0", "tips@x", "../tips", "tips@1@2", "@1", ""])
def test_what_names_no_model_is_refused(spelled: str) -> None:
    with pytest.raises(RegistryFault, match="names no model"):
        parsed(spelled)

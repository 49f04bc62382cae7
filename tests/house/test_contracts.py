"""The contracts in proto/: lint, generated code, and that a break of what was released is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts import check, generate

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def proto(tmp_path) -> Path:
    shutil.copytree(ROOT / "proto", tmp_path / "proto", ignore=shutil.ignore_patterns("gen"))
    return tmp_path / "proto"


def change(proto: Path, file: str, old: str, new: str) -> None:
    path = proto / "oo" / "v1" / file
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_the_contracts_are_without_fault():
    assert check.faults(ROOT / "proto") == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("signal.proto", "string event_id = 1", "string event_id = 17"),
        ("signal.proto", "double value = 2", "float value = 2"),
        ("signal.proto", "  TaskRemoved task_removed = 12;", ""),
        ("tip", "", ""),
        ("reaction.proto", "DISMISS = 3;", "REFUSE = 3;"),
        ("decision.proto", "string title = 19;", "string headline = 19;"),
    ],
)
def test_a_breaking_change_is_refused(proto, file, old, new):
    if file == "tip":
        (proto / "oo" / "v1" / "dead_letter.proto").unlink()
    else:
        change(proto, file, old, new)
    assert any("breaking change" in fault for fault in check.faults(proto))


def test_an_added_field_is_no_breaking_change(proto):
    change(proto, "dead_letter.proto", "int64 refused_ms = 13;", "int64 refused_ms = 13;\n  string more = 14;")
    assert check.faults(proto) == []


def test_a_released_change_is_what_later_ones_are_held_against(proto):
    change(proto, "dead_letter.proto", "int64 refused_ms = 13;", "int64 refused_ms = 13;\n  string more = 14;")
    check.release(proto)
    change(proto, "dead_letter.proto", "  string more = 14;\n", "")
    assert any("more" in fault for fault in check.faults(proto))


def test_a_name_against_bufs_rules_is_refused(proto):
    change(proto, "dead_letter.proto", "int64 refused_ms = 13;", "int64 refused_ms = 13;\n  string MoreWords = 14;")
    assert any("lint" in fault for fault in check.faults(proto))


def test_the_generated_code_is_what_the_contracts_give(tmp_path):
    generate.generate(tmp_path)
    assert generate.drift(ROOT / "proto" / "gen", tmp_path) == []


def test_generated_code_that_was_edited_is_seen_as_drift(tmp_path):
    generate.generate(tmp_path)
    with (tmp_path / "oo" / "v1" / "signal_pb2.py").open("a") as file:
        file.write("# edited\n")
    assert generate.drift(ROOT / "proto" / "gen", tmp_path) == ["oo/v1/signal_pb2.py"]

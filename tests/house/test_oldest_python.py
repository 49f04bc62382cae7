"""README promises every Python 3.11: what a later patch release brought is not used unless it is there.

Debian 12's own Python is 3.11.2.
"""

from __future__ import annotations

import ast
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agents", "connectors", "contracts", "deploy", "serving", "streams", "tables", "training")
LATER = {"extractall": {"filter"}, "extract": {"filter"}, "unpack_archive": {"filter"}}
"""Call -> keywords that came after 3.11.0, in a patch release: tarfile's and shutil's filters in 3.11.4."""


def later_keywords(source: str) -> list[int]:
    """Lines that name such a keyword outright."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and LATER.get(node.func.attr, set()) & {keyword.arg for keyword in node.keywords}
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_uses_what_only_a_later_patch_release_has(room):
    found = {str(path): later_keywords(path.read_text(encoding="utf-8")) for path in (ROOT / room).rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_such_a_use_would_be_found():
    assert later_keywords('archive.extractall(folder, filter="data")') == [1]


def test_debians_own_python_unpacks_what_is_fetched(tmp_path):
    python = Path("/usr/bin/python3.11")
    if not python.exists():
        pytest.skip("this machine has no Python of Debian 12")
    archive = tmp_path / "some.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        member = tarfile.TarInfo("bin/server")
        member.size = 2
        packed.addfile(member, io.BytesIO(b"ok"))
    (tmp_path / "out").mkdir()
    source = (ROOT / "deploy/stack/fetch.py").read_text(encoding="utf-8")
    unpack = ast.get_source_segment(
        source, next(n for n in ast.parse(source).body if getattr(n, "name", "") == "unpack")
    )
    script = (
        f"import shutil, sys, tarfile\nfrom pathlib import Path\n{unpack}\nunpack(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    subprocess.run([str(python), "-c", script, str(archive), str(tmp_path / "out")], check=True, timeout=60)
    assert (tmp_path / "out/bin/server").read_bytes() == b"ok"

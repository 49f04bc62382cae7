"""docs/quickstart: the page shows the programs as they are, and they name the versions that the stack runs with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "docs/quickstart"
PAGE = (QUICKSTART / "README.md").read_text(encoding="utf-8")
FILES = ("python/requirements.txt", "python/producer.py", "java/Quickstart.java", "java/pom.xml")


def test_all_its_files_are_these() -> None:
    assert {str(path.relative_to(QUICKSTART)) for path in QUICKSTART.glob("*/*")} >= set(FILES)
    assert len(re.findall(r"^```\w+$", PAGE, re.MULTILINE)) == len(FILES)


@pytest.mark.parametrize("name", FILES)
def test_the_page_shows_the_file_as_it_is(name: str) -> None:
    assert f"\n{(QUICKSTART / name).read_text(encoding='utf-8')}```\n" in PAGE


def test_the_versions_are_those_that_the_tests_run_with() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    python = {one["name"]: one["version"] for one in lock if one["name"] == "confluent-kafka"}
    assert (QUICKSTART / FILES[0]).read_text(encoding="utf-8") == f"confluent-kafka=={python['confluent-kafka']}\n"
    jars = tomllib.loads((ROOT / "deploy/stack/kafka.lock.toml").read_text(encoding="utf-8"))["dependencies"]
    locked = {(one["groupId"], one["artifactId"], one["version"]) for one in jars}
    pom = (QUICKSTART / "java/pom.xml").read_text(encoding="utf-8").split("<dependencies>")[1]
    named = re.findall(r"<groupId>(.*)</groupId>\s*<artifactId>(.*)</artifactId>\s*<version>(.*)</version>", pom)
    assert named and set(named) <= locked


def test_the_python_one_is_forty_lines_at_most() -> None:
    assert len((QUICKSTART / FILES[1]).read_text(encoding="utf-8").splitlines()) <= 40

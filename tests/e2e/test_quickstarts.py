"""The producers of docs/quickstart as the page shows them: a task that one writes is the tip, and what it says was done is."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from command import ROOT
from jgo.env import LockFile
from outside import client, known, settled, settled_tip, tip

from deploy.stack.fetch import default_cache, download, lock_digest, maven_context
from deploy.stack.java import java_path
from deploy.stack.running import RunningStack
from tests.patience import PATIENCE_S

QUICKSTART = ROOT / "docs/quickstart"
COMPILER_LOCK = Path(__file__).with_name("ecj.lock.toml")
"""Eclipse's compiler: the Java that comes as a Python package has none of its own."""


def python(folder: Path) -> tuple[str, ...]:
    del folder
    return (sys.executable, str(QUICKSTART / "python/producer.py"))


def java(folder: Path) -> tuple[str, ...]:
    """As `java Quickstart.java` would: the broker's own jars are the libraries that pom.xml names, and what they need."""
    compiler = default_cache().root / f"ecj-{lock_digest(COMPILER_LOCK)}.jar"
    if not compiler.exists():
        with tempfile.TemporaryDirectory(dir=compiler.parent) as scratch:
            [locked] = LockFile.load(COMPILER_LOCK).dependencies
            download(maven_context(Path(scratch)), locked).replace(compiler)
    libraries = f"{default_cache().kafka}/*"
    jars = ":".join(map(str, default_cache().kafka.glob("*.jar")))
    source = QUICKSTART / "java/Quickstart.java"
    subprocess.run(
        (java_path(), "-jar", str(compiler), "-17", "-cp", jars, "-d", str(folder), str(source)),
        check=True,
        timeout=PATIENCE_S,
    )
    return (java_path(), "-cp", f"{folder}:{libraries}", "Quickstart")


@pytest.mark.parametrize(
    "program",
    [
        python,
        pytest.param(
            java,
            marks=pytest.mark.long(
                "tests/e2e/test_quickstarts.py::test_what_the_producer_writes_is_the_tip_and_what_it_says_was_done_is[python]"
            ),
        ),
    ],
)
def test_what_the_producer_writes_is_the_tip_and_what_it_says_was_done_is(
    stack: RunningStack, tmp_path: Path, program: Callable[[Path], tuple[str, ...]]
) -> None:
    user = f"quickstart-{uuid.uuid4().hex[:8]}"
    command = program(tmp_path)
    files = {python: "producer.properties", java: "producer.java.properties"}
    broker = stack.cluster.bootstrap if stack.secured is None else str(stack.folder.secrets / files[program])

    def tell(*words: str) -> None:
        done = subprocess.run(
            (*command, broker, *words), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "has it" in done.stdout

    tell("task", user, "1", 'Call "Dr. Zoë"')
    with client(stack, user) as http:
        first = settled_tip(stack, http)
        assert first["title"] == 'Call "Dr. Zoë"'
        tell("task", user, "2", "Water the plants")
        tell("done", user, first["decision_id"])
        settled(stack)
        assert (tip(http) or {})["title"] == "Water the plants"
    row = known(stack, user)
    assert [one["external_id"] for one in row["tasks"]] == ["2"]

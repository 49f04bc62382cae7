"""An operator's commands against a cluster that was not started here: by settings alone, in a folder with nothing in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from command import ROOT, called
from light import READING, imported_heavily
from outside import client, send, settled, settled_tip, state_of, task

from deploy.stack.running import RunningStack
from tests.patience import PATIENCE_S


@pytest.fixture
def told(stack: RunningStack, tmp_path: Path) -> dict[str, str]:
    """The settings that an operator of the cluster has."""
    known = stack.environment("operator")
    names = (
        "OO_REGISTRY_URL",
        "OO_VALKEY_URL",
        "OO_RECOMMENDER_DSN",
        "OO_MAC_KEY_FILE",
        "OO_NAME_KEY_FILE",
        "OO_KEK_DIR",
        "OO_TOPIC_PREFIX",
    )
    kept = {name: known[name] for name in known if name in names or name.startswith("OO_KAFKA_")}
    return {**kept, "HOME": str(tmp_path / "home")}


def oo(told: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    here = {name: value for name, value in os.environ.items() if not name.startswith("OO_")}
    return subprocess.run(
        (sys.executable, "-m", "deploy.cli", *arguments),
        env={**here, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "NO_COLOR": "1", **told},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_every_reading_command_and_import_tip_and_react_work_by_settings_alone(
    stack: RunningStack, told: dict[str, str], tmp_path: Path
) -> None:
    user, folder = f"far-{uuid.uuid4().hex[:8]}", tmp_path / "empty"
    folder.mkdir()
    (folder / "todo.txt").write_text("(A) Call the dentist\n(B) Water the plants\n")

    def run(*arguments: str) -> str:
        done = oo(told, folder, *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    run("import", "todo.txt", "--user", user, "--time-zone", "Europe/Berlin")
    settled(stack)
    assert len(json.loads(run("state", "--user", user, "--json"))["tasks"]) == 2
    told |= {"OO_EDGE_URL": stack.edge_url, "OO_TOKEN": called("token", "--user", user, state_of(stack)).stdout.strip()}
    with client(stack, user) as http:
        settled_tip(stack, http)
    assert json.loads(run("tip", "--user", user, "--json"))["title"] in {"Call the dentist", "Water the plants"}
    run("react", "done", "--user", user)
    settled(stack)
    status = json.loads(run("status", "--json"))
    assert status["ready"] and {worker["app"] for worker in status["workers"]} >= {"oo-core", "oo-publish", "oo-record"}
    assert "Ready." in run("status")
    assert any(row["topic"] == "oo.journal" for row in json.loads(run("topics", "--json")))
    assert json.loads(run("verify", "--json"))["differences"] == 0
    json.loads(run("dead-letters", "list", "--json"))
    assert json.loads(run("policies", "--json"))["champion"]
    assert not (folder / ".oo").exists()


# `oo state` alone looks into a row's columns.
@pytest.mark.parametrize("command", [one for one in READING if one[0] != "state"], ids=" ".join)
def test_a_command_that_reads_imports_nothing_heavy_to_do_so(stack: RunningStack, command: tuple[str, ...]) -> None:
    assert imported_heavily(*command, state_of(stack)) == frozenset()


def test_what_a_command_needs_and_was_not_told_is_named(told: dict[str, str], tmp_path: Path) -> None:
    del told["OO_VALKEY_URL"], told["OO_MAC_KEY_FILE"]
    done = oo(told, tmp_path, "verify")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "OO_VALKEY_URL, OO_MAC_KEY_FILE" in done.stderr


def test_words_that_were_asked_for_are_not_shown_where_it_cannot_be_noted(
    stack: RunningStack, told: dict[str, str], tmp_path: Path
) -> None:
    user = f"unnoted-{uuid.uuid4().hex[:8]}"
    send(stack, "signals", task(user, "1", "Ask about the rash"))
    settled(stack)
    told["OO_REGISTRY_URL"] = "http://127.0.0.1:9/apis/ccompat/v7"  # nobody listens on the port of what discards
    done = oo(told, tmp_path, "state", "--user", user, "--reveal")
    assert (done.returncode, "rash" in done.stdout + done.stderr) == (1, False)
    assert "nothing is shown" in done.stderr
    assert "1 tasks" in oo(told, tmp_path, "state", "--user", user).stdout

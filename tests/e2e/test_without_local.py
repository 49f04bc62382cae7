"""An environment made from the lock without the extra `local`, as the image is: all works there but `oo up`, which says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import ROOT, called
from outside import client, send, settled_tip, state_of, task

from deploy.stack.local import EXTRA
from deploy.stack.running import RunningStack
from tests.patience import PATIENCE_S


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """The Python of such an environment, out of uv's cache: beside it, so that its files are linked and not copied."""
    uv = shutil.which("uv") or str(ROOT / ".uv/bin/uv")
    cache = subprocess.run((uv, "cache", "dir"), capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="oo-without-local-", dir=Path(cache).parent) as folder:
        made = Path(folder) / "venv"
        subprocess.run(
            (uv, "sync", "--quiet", "--offline", "--frozen", "--no-dev", "--no-install-project", "--python", sys.executable),
            env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(made)}, cwd=ROOT, check=True, timeout=120,
        )  # fmt: skip
        yield made / "bin" / "python"


def run(python: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OO_", "PYTHON"))}
    return subprocess.run(
        (str(python), *arguments),
        env={**plain, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "NO_COLOR": "1", **settings},
        cwd=python.parent, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


def test_none_of_the_extra_is_there_and_every_process_of_ours_can_be_imported(python: Path) -> None:
    there = f"import importlib.util; print([one for one in {EXTRA} if importlib.util.find_spec(one)])"
    assert run(python, "-c", there).stdout.strip() == "[]"
    processes = (
        "import agents.__main__, agents.worker, serving.__main__, serving.app, deploy.compose.setup, deploy.compile"
    )
    done = run(python, "-c", processes)
    assert done.returncode == 0, done.stderr


def test_up_says_in_one_sentence_what_to_install(python: Path, tmp_path: Path) -> None:
    done = run(python, "-m", "deploy.cli", "up", f"--state={tmp_path / 'state'}")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (1, 1, "")
    assert "uv sync --extra local" in done.stderr
    assert not (tmp_path / "state").exists()
    found = json.loads(run(python, "-m", "deploy.cli", "doctor", "--json", f"--state={tmp_path / 'state'}").stdout)
    assert [one["what"] for one in found if one["mend"]] == ["local stack"]


@pytest.mark.long(
    "tests/e2e/test_elsewhere.py::test_every_reading_command_and_import_tip_and_react_work_by_settings_alone"
)
def test_the_other_commands_work_by_settings(python: Path, stack: RunningStack) -> None:
    user = f"bare-{uuid.uuid4().hex[:8]}"
    known = stack.environment("operator")
    told = {name: value for name, value in known.items() if name not in ("OO_DATA_DIR", "OO_WORKER_ID")}
    told |= {"OO_EDGE_URL": stack.edge_url, "OO_TOKEN": called("token", "--user", user, state_of(stack)).stdout.strip()}
    send(stack, "signals", task(user, "1", "Call the dentist"))
    with client(stack, user) as http:
        assert settled_tip(stack, http)["title"] == "Call the dentist"

    def oo(*arguments: str) -> str:
        done = run(python, "-m", "deploy.cli", *arguments, **told)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    assert "dead-letters" in oo("--help")
    assert json.loads(oo("status", "--json"))["ready"]
    assert json.loads(oo("tip", "--user", user, "--json"))["title"] == "Call the dentist"
    assert json.loads(oo("verify", "--json"))["differences"] == 0

"""The rules of the house hold, and each of them breaks where somebody breaks it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("streams", "tables", "connectors", "agents", "serving", "contracts", "deploy")
TOOLS = Path(sys.executable).parent
CONTRACTS = [
    one["id"] for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
]


@pytest.fixture
def tree(tmp_path) -> Path:
    """A copy of the source, to be broken."""
    for name in (*ROOMS, "bench", "proto/gen"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree: Path, contract: str) -> subprocess.CompletedProcess[str]:
    command = [TOOLS / "lint-imports", "--no-cache", "--contract", contract]
    environment = {**os.environ, "PYTHONPATH": f"{tree}:{tree / 'proto' / 'gen'}", "COLUMNS": "200"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=120)


def plant(tree: Path, path: str, line: str) -> None:
    with (tree / path).open("a") as file:
        file.write(f"\n{line}\n")


PLANTED = [
    ("layers", "deploy/planted.py", "import bench.result"),
    ("layers", "deploy/planted.py", "import contracts.check"),
    ("layers", "streams/planted.py", "import tables.row"),
    ("layers", "tables/planted.py", "import connectors.valkey"),
    ("layers", "agents/planted.py", "import serving.problems"),
    ("pure-core", "agents/policies/planted.py", "import time"),
    ("pure-core", "agents/step.py", "import random"),
    ("pure-core", "agents/evaluation/gate.py", "import time"),
    ("pure-core", "tables/row.py", "import logging"),
    ("pure-core", "tables/backlog.py", "import tables.rocks"),
    ("policies", "agents/bandit/planted.py", "import agents.policies.uniform"),
    ("circles", "streams/run_state.py", "if False:\n    import streams.consumer"),
    ("outside", "agents/planted.py", "import psycopg"),
    ("outside", "serving/planted.py", "import valkey"),
    ("environment", "serving/planted.py", "import pydantic_settings"),
    ("roots", "serving/planted.py", "import serving.app"),
    ("plug-ins", "connectors/todo_txt.py", "import connectors.ical"),
]


@pytest.mark.parametrize("contract", CONTRACTS)
def test_the_imports_keep_the_contract(contract):
    said = lint_imports(ROOT, contract)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(("contract", "path", "line"), PLANTED)
def test_a_planted_import_breaks_its_contract(tree, contract, path, line):
    plant(tree, path, line)
    said = lint_imports(tree, contract)
    assert said.returncode == 1, said.stdout + said.stderr
    assert "BROKEN" in said.stdout
    # Of a circle the linter names the room, and the edges without which there would be none.
    where = "allowed in streams" if contract == "circles" else path.removesuffix(".py").replace("/", ".")
    assert where in said.stdout


def test_every_contract_has_a_planted_violation():
    assert {contract for contract, _, _ in PLANTED} == set(CONTRACTS)


@pytest.mark.parametrize("folder", ["tables", "agents/bandit", "agents/policies", "agents/evaluation", "agents"])
@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import datetime\n\nNOW = datetime.datetime.now(datetime.UTC)\n", "TID251"),
        ("import datetime\n\nNOW = datetime.datetime(2026, 1, 1)\n", "DTZ001"),
        ("import time\n\nNOW = time.time()\n", "TID251"),
        ("import random\n\nDRAW = random.random()\n", "TID251"),
        ("import numpy as np\n\nRNG = np.random.default_rng(1)\n", "TID251"),
        ("import numpy as np\n\nSCORE = np.dot([1], [2])\n", "TID251"),
        ("import os\n\nHOME = os.environ['HOME']\n", "TID251"),
    ],
)
def test_a_planted_clock_or_draw_in_the_core_is_seen(tree, folder, code, rule):
    (tree / folder / "planted.py").write_text(code)
    command = [TOOLS / "ruff", "check", "--no-cache", "--output-format", "concise", "planted.py"]
    said = subprocess.run(command, cwd=tree / folder, capture_output=True, text=True, check=False, timeout=60)
    assert rule in said.stdout


def environment_readers(root: Path) -> set[str]:
    """Modules that name os.environ or os.getenv."""
    found = set()
    for room in ROOMS:
        for path in (root / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"}:
                    found.add(str(path.relative_to(root)))
    return found


ROOTS = {"agents/settings.py", "agents/__main__.py", "serving/app.py", "serving/settings.py"}


def test_only_composition_roots_and_deploy_read_the_environment():
    readers = {path for path in environment_readers(ROOT) if not path.startswith("deploy/")}
    assert readers <= ROOTS


def test_a_planted_reader_of_the_environment_is_found(tree):
    plant(tree, "connectors/planted.py", "import os\nX = os.environ['X']")
    assert "connectors/planted.py" in environment_readers(tree)


def test_no_module_has_a_name_that_says_nothing():
    empty = {"utils", "util", "helpers", "common", "manager", "base", "misc"}
    assert not {path for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.stem in empty}


def test_every_opt_out_in_the_configuration_has_its_reason_beside_it():
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.per-file-ignores]")]
    lines = [line.strip() for line in block.splitlines()]
    unexplained = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line.startswith('"') and "#" not in line and not before.startswith("#")
    ]
    assert unexplained == []


def test_no_two_test_modules_have_one_name():
    """They are imported by their bare names, so that those beside them can be imported too."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in {"conftest.py", "__main__.py"}]
    assert sorted(names) == sorted(set(names))

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

from tests import proven

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("streams", "tables", "connectors", "agents", "serving", "contracts", "training", "deploy")
TOOLS = Path(sys.executable).parent
CONTRACTS = {
    one["id"]: one["name"]
    for one in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}


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
    ("replay", "deploy/replay/planted.py", "import streams.producer"),
    ("plug-ins", "connectors/todo_txt.py", "import connectors.ical"),
]

CORE = ("tables", "agents/bandit", "agents/policies", "agents/evaluation", "agents")
FORBIDDEN = (
    ("import datetime\n\nNOW = datetime.datetime.now(datetime.UTC)\n", "TID251"),
    ("import datetime\n\nNOW = datetime.datetime(2026, 1, 1)\n", "DTZ001"),
    ("import time\n\nNOW = time.time()\n", "TID251"),
    ("import random\n\nDRAW = random.random()\n", "TID251"),
    ("import numpy as np\n\nRNG = np.random.default_rng(1)\n", "TID251"),
    ("import numpy as np\n\nSCORE = np.dot([1], [2])\n", "TID251"),
    ("import os\n\nHOME = os.environ['HOME']\n", "TID251"),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the source in which every rule is broken, each break in a place of its own."""
    root = tmp_path_factory.mktemp("tree")
    for name in (*ROOMS, "bench", "proto/gen"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for _, path, line in PLANTED:
        with (root / path).open("a") as file:
            file.write(f"\n{line}\n")
    for folder in CORE:
        for number, (code, _) in enumerate(FORBIDDEN):
            (root / folder / f"draws_{number}.py").write_text(code)
    return root


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'proto' / 'gen'}", "COLUMNS": "200"}
    command = [TOOLS / "lint-imports", "--no-cache"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def broken(tree) -> dict[str, str]:
    """What is said of each contract that the tree breaks, by its id."""
    said = lint_imports(tree)
    assert said.returncode == 1, said.stdout + said.stderr
    _, _, details = said.stdout.partition("Broken contracts")
    starts = sorted((details.index(f"\n{name}\n"), one) for one, name in CONTRACTS.items() if f"\n{name}\n" in details)
    ends = [start for start, _ in starts[1:]] + [len(details)]
    return {one: details[start:end] for (start, one), end in zip(starts, ends, strict=True)}


def test_the_imports_keep_the_contracts():
    said = lint_imports(ROOT)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(("contract", "path", "line"), PLANTED)
def test_a_planted_import_breaks_its_contract(broken, contract, path, line):
    importer = path.removesuffix(".py").replace("/", ".")
    # Of a circle the linter names the room, and the edges without which there would be none.
    said = "allowed in streams" if contract == "circles" else f"{importer} -> {line.removeprefix('import ')} (l."
    assert said in broken[contract]


def test_every_contract_has_a_planted_violation():
    assert {contract for contract, _, _ in PLANTED} == set(CONTRACTS)


@pytest.fixture(scope="module")
def drawn(tree) -> list[str]:
    """What ruff says of the planted clocks and draws."""
    command = [TOOLS / "ruff", "check", "--no-cache", "--output-format", "concise", *CORE]
    said = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, timeout=60)
    return said.stdout.splitlines()


@pytest.mark.parametrize("folder", CORE)
@pytest.mark.parametrize(("number", "rule"), [(number, rule) for number, (_, rule) in enumerate(FORBIDDEN)])
def test_a_planted_clock_or_draw_in_the_core_is_seen(drawn, folder, number, rule):
    assert [line for line in drawn if line.startswith(f"{folder}/draws_{number}.py:") and f" {rule} " in line]


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
TELLERS = {"connectors/models.py"}
"""They read nothing there: litellm has no other way to be told before its import that it is not to go to the network."""


def test_only_composition_roots_and_deploy_read_the_environment():
    readers = {path for path in environment_readers(ROOT) if not path.startswith("deploy/")}
    assert readers <= ROOTS | TELLERS


def test_a_planted_reader_of_the_environment_is_found(tree):
    assert "agents/draws_6.py" in environment_readers(tree)


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


def test_folders_of_tests_that_have_a_conftest_each_can_be_run_in_one_call():
    """Of each the shortest file: what could be in the way of another's is its conftest."""
    folders = sorted(path.parent for path in (ROOT / "tests").glob("*/conftest.py"))
    files = [min(folder.glob("test_*.py"), key=lambda path: path.stat().st_size) for folder in folders]
    assert len(files) > 3
    command = [TOOLS / "pytest", "--collect-only", "-qq", *files]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr


def test_what_shows_a_librarys_fault_is_run_again_when_a_version_or_our_driver_changes(tmp_path):
    for name in ("uv.lock", "deploy/stack/kafka.lock.toml", "streams/app.py", "tests/streams/line.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert not proven.stands(tmp_path)
    (tmp_path / "tests" / "proven.txt").write_text(proven.digest(tmp_path))
    assert proven.stands(tmp_path)
    lock = tmp_path / "uv.lock"
    said = lock.read_text()
    version = next(one["version"] for one in tomllib.loads(said)["package"] if one["name"] == "faust-streaming")
    lock.write_text(
        said.replace(f'name = "faust-streaming"\nversion = "{version}"', 'name = "faust-streaming"\nversion = "99"')
    )
    assert not proven.stands(tmp_path)
    lock.write_text(said)
    with (tmp_path / "streams" / "app.py").open("a") as driver:
        driver.write("# changed\n")
    assert not proven.stands(tmp_path)

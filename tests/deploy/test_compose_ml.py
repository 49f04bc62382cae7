"""docker-compose.ml.yml: valid, as closed as the file that it stands beside, and the local stack's MLflow. No engine runs here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deploy.compose.secrets import make
from deploy.compose.setup import NEEDED
from deploy.stack import mlflow
from deploy.steps import STEPS
from serving.scorer.settings import Settings
from tests.deploy.test_compose import COMPOSE, ROOT
from tests.patience import PATIENCE_S

FILE = ROOT / "docker-compose.ml.yml"
BESIDE: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = BESIDE["services"]


def test_the_file_is_valid_by_the_compose_schema() -> None:
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE))
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout


def test_what_it_adds_has_no_more_power_than_it_needs_and_is_published_on_loopback_only() -> None:
    assert not set(SERVICES) & set(COMPOSE["services"])
    for service in SERVICES.values():
        assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert re.fullmatch(r"\d+m", service["mem_limit"])
    assert {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}["mlflow"] == ["127.0.0.1:5000:5000"]


def test_it_is_the_local_stacks_server_with_its_settings_and_every_name_that_it_is_asked_by() -> None:
    there = SERVICES["mlflow"]["environment"]
    assert mlflow.ENVIRONMENT.items() <= there.items()
    command = mlflow.Mlflow(Path("/tmp/none"), 5000, 1, "x").command()
    assert SERVICES["mlflow"]["command"][:3] == ["python", *command[1:3]]
    # The list replaces MLflow's own: a name that is not in it is refused.
    assert there["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",") == ["mlflow:5000", "127.0.0.1:5000", "localhost:5000"]
    step = SERVICES["mlflow-database"]["command"][-1]
    assert step in STEPS and step in NEEDED


def test_its_secret_is_made_and_in_no_file_of_ours(tmp_path: Path) -> None:
    made = {path.name: path for path in make(tmp_path / "compose")}
    assert made["OO_MLFLOW_DSN"].read_text().startswith("postgresql+psycopg://mlflow:")
    assert set(BESIDE["secrets"]) == {"OO_MLFLOW_DSN"}
    assert "postgresql+psycopg" not in FILE.read_text()


def test_the_scorer_is_told_what_it_needs_and_only_workers_reach_it() -> None:
    scorer = SERVICES["scorer"]
    assert scorer["command"] == ["python", "-m", "serving.scorer"]
    assert (scorer["networks"], "ports" in scorer, "secrets" in scorer) == (["back"], False, False)
    named = {name.removeprefix("OO_SCORER_").lower(): value for name, value in scorer["environment"].items()}
    assert Settings(**named).registry_url == "http://mlflow:5000"


def test_who_asks_it_does_so_by_its_name_with_the_keys_that_it_may_read() -> None:
    score, worker = SERVICES["score"], COMPOSE["services"]["record"]
    assert score["command"] == ["python", "-m", "agents", "score"]
    there = score["environment"]
    assert there["OO_SCORER_URL"] == f"http://scorer:{SERVICES['scorer']['environment']['OO_SCORER_PORT']}"
    assert "kek:/var/lib/oo-kek:ro" in score["volumes"]
    # Beside what is its own it is told what every worker is.
    assert {name for name in worker["environment"] if name.startswith("OO_KAFKA")} <= set(there)
    assert not [name for name in there if name not in {*worker["environment"], "OO_SCORER_URL"}]

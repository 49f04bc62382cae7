"""A training run from its set to the registry; killed at each step, refused, one at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import ROOT
from simulated import simulated_set

from agents.reward import DEFAULT
from connectors.model_registry import FolderRegistry
from deploy.models.collected import Audit, Collected
from deploy.models.run import Made, made_of
from oo.v1 import outcome_pb2
from training.export import answers
from training.sets import FEATURE_VERSION, NAMES, TrainingSet
from training.trained import TooLittle


def collected(some: TrainingSet) -> Collected:
    return Collected(some, "ab" * 16, {0: (5, 900), 1: (0, 70)}, {0: 950, 1: 80}, 3, 0, Audit(10, 40, 0, 0))


def run(folder: Path, some: TrainingSet, *, kinds: tuple[str, ...] = ("linear", "net")) -> list[Made]:
    work = folder / "work"
    work.mkdir()
    registry = FolderRegistry(folder / "models")
    return made_of(
        collected(some),
        registry,
        name="tips",
        kinds=kinds,
        config=DEFAULT,
        folder=work,
        tell=lambda _: None,
        extra={"wait_s": 60},
    )


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    found = run(folder, simulated_set())
    errors = [one.trained.later.error for one in found if one.trained]
    assert [one.version for one in found] == [int(one == min(errors)) for one in errors]
    return folder / "models"


def test_the_best_is_the_challenger_and_says_what_it_was_made_from(registered: Path) -> None:
    (only,) = FolderRegistry(registered).versions("tips")
    assert (only.spelled, only.aliases) == ("tips@1", ("challenger",))
    about: dict[str, Any] = dict(only.about)
    assert about["features"] == list(NAMES) and about["feature_version"] == FEATURE_VERSION
    assert about["trained_on"] == {"journal": {"0": [5, 900], "1": [0, 70]}}
    assert (about["journal_id"], about["read_to"], about["erasures"]) == ("ab" * 16, {"0": 950, "1": 80}, 3)
    assert about["fingerprint"] == simulated_set().fingerprint()
    assert len(about["commit"]) == 40
    assert about["metrics"]["earned.all.earned.low"] < about["metrics"]["earned.all.earned"]
    assert about["export"]["difference"] < 1e-5


def test_no_person_is_in_what_is_registered_and_its_sample_is_made_up(registered: Path) -> None:
    home = registered / "tips" / "1"
    assert sorted(one.name for one in home.iterdir()) == [
        *("MLmodel", "input_example.json", "model.json", "model.onnx", "plots", "sample.json")
    ]
    sample = json.loads((home / "sample.json").read_text())
    x = np.array(sample["features"], np.float32)
    some = simulated_set()
    assert not (some.inputs(np.arange(len(some.x)))[:, None, :] == x[None]).all(axis=2).any()
    assert answers((home / "model.onnx").read_bytes(), x).tolist() == pytest.approx(sample["reward"])
    for path in (one for one in home.rglob("*") if one.is_file()):
        assert b"sim-" not in path.read_bytes()


def test_a_model_whose_calibration_is_off_on_later_rows_is_not_registered(tmp_path: Path) -> None:
    some = simulated_set()
    later = some.decided_ms >= np.quantile(some.decided_ms[some.teaches], 0.7)
    # From then on everybody does everything.
    otherwise = replace(some, became=np.where(some.teaches & later, outcome_pb2.Outcome.DONE, some.became))
    assert {one.version for one in run(tmp_path, otherwise)} == {0}
    assert all("calibration is off" in one.why_not for one in run_again(tmp_path, otherwise))
    assert FolderRegistry(tmp_path / "models").versions() == []


def run_again(folder: Path, some: TrainingSet) -> list[Made]:
    other = folder / "again"
    other.mkdir()
    return run(other, some)


def test_a_range_in_which_nobody_saw_a_tip_says_so(tmp_path: Path) -> None:
    some = simulated_set()
    with pytest.raises(TooLittle, match="take a longer range"):
        run(tmp_path, replace(some, became=np.zeros_like(some.became)))


def test_a_run_killed_at_any_step_changes_nothing_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    done = subprocess.run(
        (sys.executable, str(Path(__file__).with_name("killed_runs.py")), str(tmp_path)),
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}:{Path(__file__).parent}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *killed, whole, refused = [json.loads(one) for one in done.stdout.splitlines()]
    assert [one["step"] for one in killed[:5]] == [
        *("fitting linear", "writing linear", "fitting net", "writing net"),
        killed[4]["step"],
    ]
    assert [one["step"].split()[0] for one in killed[4:]] == ["registering", "naming"]
    assert [one["versions"] for one in killed] == [[]] * 5 + [["tips@1"]]
    # Until the run's end nobody is named.
    assert all(not any(one["named"]) for one in killed)
    assert any(one["left"] != ["lock"] for one in killed)
    # The last ones were cleared away by the next run.
    assert whole["step"] == "" and whole["left"] == ["lock"]
    assert whole["named"] == [[], ["challenger"]]
    assert "a training run is at work already" in refused["step"]

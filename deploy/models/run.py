"""A training run: a set from the journal, models of it, each exported and judged, and the best of those that may be, registered. One runs at a time.

Nothing of it is kept but what is registered at its end: a run that ended anywhere before is begun anew, and has changed nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from agents.features import ONE
from connectors.model_registry import ABOUT, CHALLENGER, NAME, ModelRegistry
from deploy.models.collected import Collected
from deploy.models.plots import draw
from deploy.stack.local import ROOT
from oo.v1 import policy_pb2
from streams.clock import clock_ms
from training.export import CannotExport, answers
from training.judged import flat
from training.sets import FEATURE_VERSION, NAMES, split
from training.trained import TooLittle, Trained, trained

SAMPLE_ROWS = 2


class TrainingRuns(Exception):
    """Another run is at it; one line."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one kind of model in a run."""

    kind: str
    why_not: str = ""
    """Why it may not be registered."""
    version: int = 0
    """0: it was not registered, since it may not be or another one is better."""
    trained: Trained | None = field(default=None, repr=False)


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Hold the one place of a training run, and give an empty folder to work in. The lock goes with its process, however that ends. Raises
    TrainingRuns."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingRuns("a training run is at work already: wait for its end, or end it") from None
        for left in folder.glob("run-*"):  # Of one that was killed.
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as fresh:
            yield Path(fresh)
    finally:
        os.close(lock)


def made_of(
    collected: Collected,
    registry: ModelRegistry,
    *,
    name: str,
    kinds: Sequence[str],
    config: policy_pb2.DecisionConfig,
    folder: Path,
    tell: Callable[[str], None],
    extra: Mapping[str, Any],
) -> list[Made]:
    """Make these kinds of models, and register the one with the least error on later rows of those that may be, as challenger: at one moment, at the
    end. `folder`: an empty one.

    `extra`: what else is said of each in its model.json. Raises TooLittle where there is nothing to learn from, and RegistryFault.
    """
    assert NAME.fullmatch(name), name
    try:
        parts = split(collected.rows)
    except ValueError as error:
        raise TooLittle(f"{error}: take a longer range, or a shorter --wait") from None
    found = list[Made]()
    for kind in kinds:
        tell(f"fitting {kind}")
        try:
            one = trained(kind, collected.rows, parts, config=config)
        except CannotExport as error:
            found.append(Made(kind, str(error)))
            continue
        tell(f"writing {kind}")
        write(folder / kind, one, collected, extra={**extra, "parted_ms": parts.parted_ms})
        found.append(Made(kind, one.why_not, trained=one))
    able = [one for one in found if one.trained is not None and not one.why_not]
    if not able:
        return found
    best = min(able, key=lambda one: one.trained.later.error if one.trained is not None else 0.0)
    tell(f"registering {best.kind}")
    number = registry.register(name, folder / best.kind)
    tell("naming the challenger")
    registry.set_alias(name, CHALLENGER, number)
    return [replace(one, version=number) if one is best else one for one in found]


def write(folder: Path, one: Trained, collected: Collected, *, extra: Mapping[str, Any]) -> None:
    """Write what a version consists of: the model, what is said of it, and a sample that is made up."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(one.onnx)
    draw(one, folder / "plots")
    sample = made_up()
    (folder / "MLmodel").write_text(json.dumps(ml_model(), indent=1) + "\n")
    (folder / "input_example.json").write_text(json.dumps({"inputs": {"features": sample.tolist()}}) + "\n")
    (folder / "sample.json").write_text(
        json.dumps({"features": sample.tolist(), "reward": answers(one.onnx, sample).tolist()}) + "\n"
    )
    about = {
        "model": one.kind,
        "feature_version": FEATURE_VERSION,
        "features": list(NAMES),
        "trained_on": {"journal": {str(number): list(span) for number, span in collected.ranges.items()}},
        "journal_id": collected.journal_id,
        "read_to": {str(number): end for number, end in collected.read_to.items()},
        "erasures": collected.erasures,
        "unshared": collected.unshared,
        "fingerprint": collected.rows.fingerprint(),
        "commit": commit(),
        "build": version("oo-recommender"),
        "created_ms": clock_ms(),
        "audit": asdict(collected.audit),
        "rows": one.rows,
        "calibrated": {"scale": one.scale, "shift": one.shift},
        "export": one.export._asdict(),
        "sha256": hashlib.sha256(one.onnx).hexdigest(),
        "metrics": metrics(one),
        **extra,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")


def ml_model() -> dict[str, Any]:
    """What MLflow reads to load a model by itself, with its signature. Its file is YAML, and so is JSON."""
    inputs = [{"name": "features", **_tensor(len(NAMES))}]
    return {
        "artifact_path": "model",
        "flavors": {
            "onnx": {"data": "model.onnx", "onnx_version": version("onnx"), "providers": ["CPUExecutionProvider"]},
            "python_function": {"loader_module": "mlflow.onnx", "data": "model.onnx", "env": {}},
        },
        "mlflow_version": version("mlflow"),
        "saved_input_example_info": {
            "artifact_path": "input_example.json",
            "type": "json_object",
            "format": "tf-serving",
        },
        "signature": {
            "inputs": json.dumps(inputs),
            "outputs": json.dumps([{"name": "reward", **_tensor(1)}]),
            "params": None,
        },
    }


def _tensor(width: int) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, width]}}


def metrics(one: Trained) -> dict[str, float]:
    """The numbers of a judgement by name, each interval as `.low` and `.high`."""
    found = {"new": one.new, "later": one.later, "calibration.off": one.calibration.off, "earned": one.earned}
    told = {name: value for key, part in found.items() for name, value in flat(part, key).items()}
    return {name.replace("earned.groups.", "earned."): value for name, value in told.items()}


def made_up() -> np.typing.NDArray[np.float32]:
    """Rows that nobody ever had, to show what a model is given; (2, D)."""
    steps = np.arange(SAMPLE_ROWS * len(NAMES)) * 7 % (ONE + 1)
    return (steps / ONE).astype(np.float32).reshape(SAMPLE_ROWS, len(NAMES))


def commit() -> str:
    """Of the code that made it; empty where it is no checkout."""
    done = subprocess.run(
        ("git", "-C", str(ROOT), "rev-parse", "HEAD"), check=False, capture_output=True, text=True, timeout=10
    )
    return done.stdout.strip() if done.returncode == 0 else ""

"""What runs models: the same answers by each runtime, and by what other rows come with a row."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deploy.stack.local import ROOT, python_env
from serving.scorer.runtimes import Failed, Unusable
from serving.scorer.runtimes.here import Here
from serving.scorer.runtimes.linear import Linear
from serving.scorer.runtimes.onnx import OnnxRuntime
from tests.patience import PATIENCE_S
from tests.serving.scorers import D, Scorer, onnx_file, register, rewards

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")
X = (np.random.Generator(np.random.PCG64(1)).integers(0, 65, size=(1000, D)) / 64).astype(np.float32)
LINE = {"weights": [0.1, -0.2, 0.3, 0.4, -0.5, 0.6], "bias": 0.07}


def onnx(folder: Path, kind: str) -> OnnxRuntime:
    (folder / "model.onnx").write_bytes(onnx_file(kind))
    return OnnxRuntime.of(folder, D)


def line(folder: Path, **changed: object) -> Linear:
    (folder / "model.json").write_text(json.dumps({"linear": LINE | changed}))
    return Linear.of(folder, D)


@pytest.mark.parametrize("kind", ["linear", "boosting", "net", "numpy"])
def test_a_row_gets_the_same_bits_whatever_comes_with_it(tmp_path: Path, kind: str) -> None:
    """onnxruntime promises nothing of it: where this fails, what docs/adr/0068 says of bits is no longer so, and scores stay as exact as they are."""
    model = line(tmp_path) if kind == "numpy" else onnx(tmp_path, kind)
    whole = model.infer(X)
    assert (np.concatenate([model.infer(one[None]) for one in X[:300]]) == whole[:300]).all(), (kind, "alone")
    for rows in (2, 3, 4, 5, 7, 8, 16, 17, 31, 33, 64, 100, 500):
        for start in (0, 1, 37, 500):
            some = X[start : start + rows]
            assert (model.infer(some) == whole[start : start + rows]).all(), (kind, rows, start)


def test_a_row_that_comes_alone_would_get_other_bits_from_onnxruntime_itself(tmp_path: Path) -> None:
    model = onnx(tmp_path, "linear")
    alone = np.concatenate([model._session.run(["reward"], {"features": X[at : at + 1]})[0][:, 0] for at in range(500)])
    whole = model.infer(X)[:500]
    assert (alone != whole).any()
    assert np.abs(alone - whole).max() < 1e-6


def test_a_line_is_what_it_says_and_what_is_none_is_refused(tmp_path: Path) -> None:
    expected = X.astype(np.float64) @ np.array(LINE["weights"]) + 0.07
    assert np.abs(line(tmp_path).infer(X) - expected).max() < 1e-6
    for wrong in ({"weights": [1.0]}, {"bias": None}, {"bias": float("inf")}):
        with pytest.raises(Unusable):
            line(tmp_path, **wrong)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(Unusable, match="only the onnx runtime"):
        Linear.of(tmp_path, D)


def test_a_model_that_gives_no_number_is_none() -> None:
    class Broken:
        platform, d = "broken", D

        def infer(self, features: np.ndarray) -> np.ndarray:
            return features[:, 0] * np.float32("nan")

    with pytest.raises(Failed, match="no finite number"):
        Here(Broken(), rows_max=4)


def test_what_takes_long_leaves_the_loop_free() -> None:
    import threading

    seen = list[bool]()

    class Slow:
        platform, d = "slow", D

        def infer(self, features: np.ndarray) -> np.ndarray:
            seen.append(threading.current_thread() is threading.main_thread())
            if len(features) > 1:
                threading.Event().wait(0.01)
            return features[:, 0]

    model = Here(Slow(), rows_max=100)
    seen.clear()
    asyncio.run(model.infer(X[:100]))
    assert seen == [False]
    asyncio.run(model.infer(X[:1]))
    assert seen == [False, True]


def test_a_scorer_in_numpy_and_one_that_asks_another_answer_alike_and_say_when_they_cannot(tmp_path: Path) -> None:
    behind = Scorer(tmp_path / "behind", runtime="numpy")
    front = Scorer(tmp_path / "front", runtime="remote", remote_url=f"http://127.0.0.1:{behind.port}")
    for one in (behind, front):
        register(one.registry, b"not asked", linear=LINE)
    behind.start()
    behind.until("/v2/models/tips/ready")
    front.start()
    front.until("/v2/models/tips/ready")
    expected = X[:20].astype(np.float64) @ np.array(LINE["weights"]) + 0.07
    mine, theirs = rewards(behind.infer(X[:20])), rewards(front.infer(X[:20]))
    assert np.abs(mine - expected).max() < 1e-6 and (mine == theirs).all()
    assert front.client.get("/v2/models/tips").json()["platform"] == "remote"
    behind.end()
    answer = front.infer(X[:20])
    assert (answer.status_code, "unreachable" in answer.json()["error"]) == (502, True)
    behind.start()
    behind.until("/v2/models/tips/ready")
    assert (rewards(front.infer(X[:20])) == mine).all()
    for one in (front, behind):
        one.end()


def test_only_the_scorer_loads_onnxruntime_and_no_process_of_before_does() -> None:
    code = "import sys, serving.app, agents.worker, serving.scorer.app; print('onnxruntime' in sys.modules)"
    done = subprocess.run(
        (sys.executable, "-c", code),
        env=python_env(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    assert done.stdout.strip() == "False"

"""Scorers as processes, models for them, and a client that is not ours: tritonclient in an environment of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from connectors.model_registry import CHAMPION, FolderRegistry
from deploy.stack.local import python_env

D = 6
ROWS = (np.arange(40 * D, dtype=np.float32).reshape(40, D) * 7 % 64 / 64).astype(np.float32)


def onnx_file(kind: str = "linear", *, seed: int = 0, d: int = D) -> bytes:
    """A model of one of the three kinds that training makes, fitted to made-up rows."""
    from threadpoolctl import threadpool_limits

    from training.calibrated import Calibrated
    from training.export import exported
    from training.models import MODELS

    random = np.random.default_rng(seed)
    x = (random.integers(0, 65, size=(400, d)) / 64).astype(np.float32)
    y = x @ random.normal(size=d) / d + 0.1 * x[:, 0] * x[:, 1]
    with threadpool_limits(limits=1):  # More wait for each other.
        return exported(Calibrated(MODELS[kind](x, y), 0.9, 0.01), names=[f"f{n}" for n in range(d)])


def register(registry: FolderRegistry, content: bytes, *, champion: bool = True, **about: Any) -> int:
    """One more version of `tips`, and its champion."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(content)
        said = {"features": [f"f{n}" for n in range(D)], **about}
        (Path(folder) / "model.json").write_text(json.dumps(said))
        number = registry.register("tips", Path(folder))
    if champion:
        registry.set_alias("tips", CHAMPION, number)
    return number


class Scorer:
    """A scorer in a folder of its own, with its registry beside it."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.registry = folder, FolderRegistry(folder / "models")
        self.settings = settings
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port: int = one.getsockname()[1]

    def start(self) -> None:
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=30)
        self.folder.mkdir(exist_ok=True)
        environment = {
            **python_env(),
            "PATH": os.environ["PATH"],
            "OO_SCORER_PORT": str(self.port),
            "OO_SCORER_MODELS_DIR": str(self.registry.folder),
            "OO_SCORER_KEPT_DIR": str(self.folder / "kept"),
            "OO_SCORER_POLL_S": "0.1",
            **{f"OO_SCORER_{name.upper()}": value for name, value in self.settings.items()},
        }
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                (sys.executable, "-m", "serving.scorer"), env=environment, cwd=self.folder, stdout=log, stderr=log
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.wait(30)
        self.client.close()

    def status(self, path: str) -> int:
        try:
            return self.client.get(path).status_code
        except httpx.TransportError:
            return 0

    def until(self, path: str, status: int = 200) -> None:
        until_s = time.monotonic() + 60
        while self.status(path) != status:
            assert time.monotonic() < until_s and self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.05)

    def until_champion(self, version: int) -> None:
        until_s = time.monotonic() + 60
        while self.client.get("/v2/models/tips").json().get("version") != str(version):
            assert time.monotonic() < until_s, (self.folder / "log").read_text()
            time.sleep(0.05)

    def infer(self, rows: Any = ROWS, *, version: int | None = None, **said: Any) -> httpx.Response:
        place = "" if version is None else f"/versions/{version}"
        return self.client.post(f"/v2/models/tips{place}/infer", json=request(rows, **said))

    def metric(self, line: str) -> float:
        found = [one for one in self.client.get("/metrics").text.splitlines() if one.startswith(f"{line} ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def request(rows: Any, **said: Any) -> dict[str, Any]:
    data = np.asarray(rows, dtype=np.float32)
    tensor = {"name": "features", "shape": list(data.shape), "datatype": "FP32", "data": data.ravel().tolist()}
    return {"inputs": [tensor], **said}


def rewards(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert output["shape"] == [len(output["data"]), 1]
    return np.array(output["data"], dtype=np.float32)

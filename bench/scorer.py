"""The scorer: questions of a slate beside a constant route of the same app, and beside MLServer with the same ONNX file.

Each server has one processor for itself while it is asked; the load has the others. Turns of the compared follow each other, and of each number the
median of the turns counts.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from bench.builds import ROOT
from bench.edge import _elsewhere as elsewhere
from bench.result import Bench, Result, Row, compared
from connectors.model_registry import FolderRegistry
from tests.foreign import programs
from tests.serving.scorers import onnx_file, register, request

D = 48
SHAPES = (7, 29)
"""Rows of a question: what is eligible of ten and of 35 candidates, as in the step's benchmark."""
KIND = "boosting"
CONNECTIONS = 16
PER_S = 500
"""More than the slates of 500 signals a second, of which each person's are scored once in three minutes at most."""
ROUNDS = 5
TURN_S = 2.0
MLSERVER = Path(__file__).with_name("mlserver")
PATHS = {
    "constant": "/bench/constant",
    "json": "/v2/models/tips/infer",
    "binary": "/v2/models/tips/infer",
    "MLServer": "/v2/models/tips/infer",
}


@dataclass(slots=True)
class Turns:
    """What the turns of one path brought."""

    per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)

    def rows_per_core_s(self, rows: int) -> float:
        return rows * 1e6 / statistics.median(self.cpu_us)


@dataclass(slots=True)
class Server:
    """A running server."""

    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        times = [one.cpu_times() for one in (self.process, *self.process.children(recursive=True))]
        return sum(one.user + one.system for one in times)


def measure(bench: Bench) -> Result:
    """p99 at one rate, and rows a second of processor time."""
    content = onnx_file(KIND, d=D)
    with elsewhere() as core, ExitStack() as running:
        ours = running.enter_context(_ours(bench, content, core))
        theirs = running.enter_context(_mlserver(bench, content, core))
        servers = {name: theirs if name == "MLServer" else ours for name in PATHS}
        found = [row for rows in SHAPES for row in _shape(bench, servers, rows)]
    return Result(found)


def _shape(bench: Bench, servers: dict[str, Server], rows: int) -> list[Row]:
    """All turns of questions of so many rows."""
    _same(servers, rows)
    turn_s, rounds = (0.5, 1) if bench.quick else (TURN_S, ROUNDS)
    never_rest, at_rate = ({name: Turns() for name in PATHS} for _ in range(2))
    for _ in range(rounds):
        for name in PATHS:
            _turn(bench, servers[name], name, rows, never_rest[name], seconds=turn_s)
        bench.say(", ".join(f"{name} {turn.per_s[-1]:.0f}/s" for name, turn in never_rest.items()))
    for _ in range(rounds):
        for name in ("constant", "json", "binary"):
            _turn(bench, servers[name], name, rows, at_rate[name], seconds=turn_s, per_s=PER_S)
        bench.say(", ".join(f"{name} p99 {turn.p99_ms[-1]:.2f} ms" for name, turn in at_rate.items() if turn.p99_ms))
    return _rows(rows, never_rest, at_rate)


def _rows(rows: int, never_rest: dict[str, Turns], at_rate: dict[str, Turns]) -> list[Row]:
    cpu_us = {name: statistics.median(turn.cpu_us) for name, turn in never_rest.items()}
    p99 = {name: statistics.median(turn.p99_ms) for name, turn in at_rate.items() if turn.p99_ms}
    p50 = {name: statistics.median(turn.p50_ms) for name, turn in at_rate.items() if turn.p50_ms}
    same = "a constant route of the same app that takes the same body"
    note = (
        f"{PER_S} requests a second on {CONNECTIONS} connections; the medians are {p50['json']:.2f} (JSON), {p50['binary']:.2f} (binary) and "
        f"{p50['constant']:.2f} ms (constant). Where connections never rest, a request of {rows} rows of {D} features takes {cpu_us['json']:.0f} µs of "
        f"the server's processor time as JSON and {cpu_us['binary']:.0f} as binary, the constant {cpu_us['constant']:.0f}, MLServer's {cpu_us['MLServer']:.0f}."
    )
    what = f"{rows} rows of {D} features"
    peer = "MLServer 1.7.1, JSON, the same ONNX file and requests"
    return [
        compared(f"scorer-p99-{rows}", f"{what} as JSON, p99", p99["json"], "ms", peer=p99["constant"], peer_name=same, at_most=1.3, note=note),
        compared(f"scorer-p99-binary-{rows}", f"{what} as binary, p99", p99["binary"], "ms", peer=p99["constant"], peer_name=same),
        compared(
            f"scorer-rows-{rows}",
            f"{what} as JSON, rows per second of processor time",
            never_rest["json"].rows_per_core_s(rows),
            "/s",
            peer=never_rest["MLServer"].rows_per_core_s(rows),
            peer_name=peer,
            at_least=5,
        ),
        compared(
            f"scorer-rows-binary-{rows}",
            f"{what} as binary, rows per second of processor time",
            never_rest["binary"].rows_per_core_s(rows),
            "/s",
            peer=never_rest["MLServer"].rows_per_core_s(rows),
            peer_name=peer,
        ),
    ]  # fmt: skip


def _same(servers: dict[str, Server], rows: int) -> None:
    """Both answer with the same numbers."""
    found = []
    for name in ("json", "MLServer"):
        url = f"http://127.0.0.1:{servers[name].port}{PATHS[name]}"
        answer = httpx.post(url, json=request(_features(rows)), trust_env=False, timeout=30).raise_for_status().json()
        found.append(np.array(answer["outputs"][0]["data"], np.float32).reshape(-1))
    if found[0].shape != (rows,) or abs(found[0] - found[1]).max() > 1e-5:
        raise SystemExit("the scorer and MLServer do not answer alike")


def _features(rows: int) -> np.ndarray:
    return (np.arange(rows * D).reshape(rows, D) * 7 % 65 / 64).astype(np.float32)


def _request(name: str, port: int, rows: int) -> bytes:
    said = request(_features(rows))
    headers, tail = "", b""
    if name == "binary":
        tail = _features(rows).tobytes()
        (tensor,) = said["inputs"]
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(tail)}
        said["parameters"] = {"binary_data_output": True}
    body = json.dumps(said).encode()
    if tail:
        headers = f"inference-header-content-length: {len(body)}\r\n"
    head = f"POST {PATHS[name]} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(body) + len(tail)}\r\n\r\n".encode() + body + tail


def _turn(
    bench: Bench, server: Server, name: str, rows: int, turns: Turns, *, seconds: float, per_s: float = 0.0
) -> None:
    file, answer = bench.scratch / f"{name}.http", bench.scratch / "answer.json"
    file.write_bytes(_request(name, server.port, rows))
    argv = (
        sys.executable,
        "-m",
        "bench.http_load",
        str(server.port),
        str(CONNECTIONS),
        str(seconds),
        str(file),
        str(answer),
    )
    cpu_s = server.cpu_s()
    subprocess.run((*argv, *([str(per_s)] if per_s else [])), cwd=ROOT, check=True, timeout=60)
    cpu_s = server.cpu_s() - cpu_s
    done = json.loads(answer.read_text())
    if set(done["statuses"]) != {"200"}:
        raise SystemExit(f"{name} answers {done['statuses']}")
    latencies_ms = sorted(done["latencies_ms"])
    turns.per_s.append(len(latencies_ms) / done["seconds"])
    turns.cpu_us.append(cpu_s / done["all"] * 1e6)
    turns.p50_ms.append(latencies_ms[len(latencies_ms) // 2])
    turns.p99_ms.append(latencies_ms[int(len(latencies_ms) * 0.99)])


@contextmanager
def _ours(bench: Bench, content: bytes, core: int) -> Iterator[Server]:
    registry = FolderRegistry(bench.scratch / "models")
    register(registry, content, features=[f"f{number}" for number in range(D)])
    port = _free_port()
    environment = {
        **os.environ,
        "OO_SCORER_PORT": str(port),
        "OO_SCORER_MODELS_DIR": str(registry.folder),
        "OO_SCORER_KEPT_DIR": str(bench.scratch / "kept"),
    }
    argv = (sys.executable, "-m", "bench.scorer_server", str(core))
    with _running(argv, port, environment, ROOT) as server:
        yield server


@contextmanager
def _mlserver(bench: Bench, content: bytes, core: int) -> Iterator[Server]:
    folder, port = bench.scratch / "mlserver", _free_port()
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    (folder / "onnx_model.py").write_text((MLSERVER / "onnx_model.py").read_text())
    said = {"name": "tips", "implementation": "onnx_model.OnnxModel", "parameters": {"uri": "./model.onnx"}}
    (folder / "model-settings.json").write_text(json.dumps(said))
    # No worker beside the server's process, no page of metrics, no compression: what it can do without costs it nothing.
    settings = {
        "debug": False,
        "parallel_workers": 0,
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": _free_port(),
        "metrics_endpoint": None,
        "gzip_enabled": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    place = programs(MLSERVER / "requirements.txt")
    argv = (str(place / "python"), str(place / "mlserver"), "start", ".")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    if core >= 0:
        argv = ("taskset", "-c", str(core), *argv)
    with _running(argv, port, environment, folder) as server:
        yield server


@contextmanager
def _running(argv: tuple[str, ...], port: int, environment: dict[str, str], folder: Path) -> Iterator[Server]:
    process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/v2/models/tips/ready", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > until_s:
                raise SystemExit(f"{argv} did not become ready")
            time.sleep(0.1)
        yield Server(port, psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

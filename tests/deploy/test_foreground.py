"""`oo up` in the foreground: Ctrl-C stops all of it, also half-way through the start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from command import ROOT

from tests.patience import PATIENCE_S


def start(state: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}"}
    command = (sys.executable, "-m", "deploy.cli", "up", "--servers-only", f"--state={state}")
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_ctrl_c_during_the_start_stops_what_had_started(tmp_path: Path) -> None:
    with start(tmp_path / "state") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "postgres: ready" in line:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(signal.SIGINT)
        printed = process.stdout.read()
        assert process.wait(timeout=PATIENCE_S) == 0
    assert "Traceback" not in printed
    assert "postgres: stopped" in printed
    assert [child for child in children if child.is_running()] == []

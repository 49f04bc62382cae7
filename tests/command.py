"""The command `oo`: as a person runs it, and the same commands called in this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from deploy import cli

ROOT = Path(__file__).resolve().parent.parent


def oo(
    *arguments: str, timeout_s: float = 300.0, check: bool = True, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command `oo` as a person would; a failure shows what it printed."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto' / 'gen'}", "NO_COLOR": "1"}
    done = subprocess.run(
        (sys.executable, "-m", "deploy.cli", *arguments),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        input=stdin,
        check=False,
    )
    return _checked(done) if check else done


def called(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Call the same command in this process, which has imported what a process of its own takes seconds to import.

    For what is asked often. Each command is run as a person would by one test at least.
    """
    out, err, before = StringIO(), StringIO(), sys.argv
    sys.argv, status = ["oo", *arguments], 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.argv = before
    done = subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())
    return _checked(done) if check else done


def _checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if done.returncode != 0:
        raise AssertionError(f"oo {done.args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def kill(pid: int) -> None:
    """Kills a process as the kernel does when memory runs out."""
    os.kill(pid, signal.SIGKILL)

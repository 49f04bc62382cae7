"""Starts and ends a whole stack for a benchmark, in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.stack.running import RunningStack, open_stack
from deploy.stack.state import StateFolder


@contextmanager
def running_stack(
    state: Path,
    *,
    workers: int = 1,
    servers_only: bool = False,
    nameless: bool = False,
    llm: str = "",
    ml: bool = False,
) -> Iterator[RunningStack]:
    """The stack in `state`, without a demo user; ended with the block. `nameless`: without pseudonyms, for who looks for people
    behind the door by the names that it gave them. `llm`: its language model, as `oo up --llm` has it; none where nothing is said. `ml`: with MLflow, scorer and score.
    """
    if nameless:
        folder = StateFolder(state)
        folder.create()
        folder.name_key_file.touch()
    how = ("--servers-only",) if servers_only else (f"--workers={workers}",)
    # A build of before has no such option.
    how += (*((f"--llm={llm}",) if llm else ()), *(("--ml",) if ml else ()))
    _oo("up", "--detach", "--no-demo", f"--state={state}", *how)
    try:
        yield open_stack(state)
    finally:
        _oo("down", f"--state={state}")


def _oo(*arguments: str) -> None:
    # Of the build whose Python runs this, wherever this file stands.
    subprocess.run((sys.executable, "-P", "-m", "deploy.cli", *arguments), check=True, stdout=subprocess.DEVNULL)

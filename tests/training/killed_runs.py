"""Killed at every step of a run, in turn: what its registry has afterwards. A program of its own, whose children die.

Usage: python killed_runs.py FOLDER; prints a line of JSON a step.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from simulated import simulated_set

from agents.reward import DEFAULT
from connectors.model_registry import FolderRegistry
from deploy.models.collected import Audit, Collected
from deploy.models.run import Made, TrainingRuns, alone, made_of

FOLDER = Path(sys.argv[-1])
"""Read before it is known whether this runs or is only looked at."""


def run(*, dies_at: int) -> list[Made]:
    """One run, killed when it tells of that step; 0: never."""
    steps = 0

    def tell(what: str) -> None:
        nonlocal steps
        steps += 1
        if steps == dies_at:
            print(what, end="", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    with alone(FOLDER / "training") as folder:
        some = Collected(simulated_set(), "00", {0: (0, 9)}, {0: 9}, 0, 0, Audit())
        registry = FolderRegistry(FOLDER / "models")
        return made_of(
            some, registry, name="tips", kinds=("linear", "net"), config=DEFAULT, folder=folder, tell=tell, extra={}
        )


def main() -> None:
    simulated_set()
    for step in range(1, 20):
        out, into = os.pipe()
        if (child := os.fork()) == 0:
            os.dup2(into, 1)
            run(dies_at=step)
            os._exit(0)
        os.close(into)
        with os.fdopen(out) as said:
            where = said.read()
        _, status = os.waitpid(child, 0)
        found = FolderRegistry(FOLDER / "models").versions()
        left = sorted(one.name for one in (FOLDER / "training").iterdir())
        told = {"step": where, "versions": [one.spelled for one in found], "named": [one.aliases for one in found]}
        print(json.dumps({**told, "left": left}), flush=True)
        if os.WIFEXITED(status):
            break
    with alone(FOLDER / "training"):
        try:
            run(dies_at=0)
        except TrainingRuns as error:
            print(json.dumps({"step": str(error)}))


if __name__ == "__main__":
    main()

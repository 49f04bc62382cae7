"""Compiles every loop that a decision runs, and every module to bytecode, so that no process has to when it starts.

Numba and Python keep the results beside the sources; what changes later is compiled when it is next imported.
"""

from __future__ import annotations

import compileall
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("agents", "connectors", "deploy", "serving", "streams", "tables", "training", "proto/gen")
MODULES = (
    "tables.linear",
    "tables.columns",
    "tables.backlog",
    "tables.sums",
    "tables.windows",
    "tables.pending",
    "tables.taken",
    "tables.slates",
    "tables.marginal",
    "agents.bandit.philox",
    "agents.bandit.kernel",
    "agents.candidates",
    "agents.evaluation.single",
    "agents.features",
    "agents.slate",
)


def main() -> None:
    """Compiles all of it."""
    loops()
    bytecode()


def bytecode() -> None:
    """Compiles what runs here. In an image it is done where packages are installed, which have no folder `proto/gen`."""
    for room in ROOMS:
        if (ROOT / room).is_dir():
            compileall.compile_dir(ROOT / room, quiet=2)


def loops() -> None:
    """Compiles what each module holds anew: numba looks at a module's own time, and not at those whose loops it calls."""
    for name in MODULES:
        *folders, module = name.split(".")
        for kept in ROOT.joinpath(*folders, "__pycache__").glob(f"{module}.*.nb[ic]"):
            kept.unlink()
    for name in MODULES:
        import_module(name)


if __name__ == "__main__":
    main()

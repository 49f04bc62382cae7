"""Compiles every loop that a decision runs, so that no process has to when it starts; numba keeps the result."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("tables.linear", "tables.sums", "tables.marginal", "agents.bandit.philox", "agents.bandit.kernel")


def main() -> None:
    """Compiles what each module holds anew: numba looks at a module's own time, and not at those whose loops it calls."""
    for name in MODULES:
        *folders, module = name.split(".")
        for kept in ROOT.joinpath(*folders, "__pycache__").glob(f"{module}.*.nb[ic]"):
            kept.unlink()
    for name in MODULES:
        import_module(name)


if __name__ == "__main__":
    main()

"""Compiles every loop that a decision runs, so that no process has to when it starts; numba keeps the result."""

from __future__ import annotations

from importlib import import_module

MODULES = ("tables.linear", "tables.sums", "tables.marginal", "agents.policies.kernel")


def main() -> None:
    """Importing a module compiles what it holds, unless that is there already."""
    for name in MODULES:
        import_module(name)


if __name__ == "__main__":
    main()

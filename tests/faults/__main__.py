"""`make faults`: does every fault to a real stack, prints the table, and writes docs/reliability.{md,json}.

    python -m tests.faults [--seed N] [--rows worker-kill,broker-kill] [--no-write]

Starts a stack of its own in a temporary folder and ends it. Status 1 where an invariant broke.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from tests.faults.report import show, write
from tests.faults.rows import ROWS
from tests.faults.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", default="", help="only these, by id and comma")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--logs", type=Path, help="keep the processes' logs here")
    options = parser.parse_args()
    wanted = [name for name in options.rows.split(",") if name]
    unknown = set(wanted) - {row.id for row in ROWS}
    if unknown:
        parser.error(f"no such rows: {sorted(unknown)}; there are {[row.id for row in ROWS]}")
    rows = [row for row in ROWS if not wanted or row.id in wanted]
    console, began_s = Console(highlight=False, width=140), time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began_s:6.1f} s  {line}", markup=False)

    results = []
    for result in run(rows, seed=options.seed, say=say, logs=options.logs):
        results.append(result)
        if not options.no_write:
            write([result], seed=options.seed)
    show(results, console)
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())

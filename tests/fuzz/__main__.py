"""`make fuzz`: writes thousands of good and spoiled records at every door of a stack, and prints what became of them.

    python -m tests.fuzz [--state DIR] [--seed N] [--kafka N] [--http N] [--files N] [--internal N]

It starts a stack of its own, unless it is given one of `oo up --detach --state DIR`, whose topics are full of junk afterwards.
Status 1 where a record was lost or doubled, a good one refused, or a process ended.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.stack.running import open_stack
from tests.command import oo
from tests.fuzz.doors import Fuzz, shown


@contextmanager
def _stack_in(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="oo-fuzz-") as folder:
        state = Path(folder) / "state"
        print("starting a stack ...", flush=True)
        oo("up", "--detach", "--no-demo", f"--state={state}")
        try:
            yield state
        finally:
            oo("down", f"--state={state}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--kafka", type=int, default=4000, help="a topic")
    parser.add_argument("--http", type=int, default=2000)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--internal", type=int, default=500)
    told = parser.parse_args()
    with _stack_in(told.state) as state:
        fuzz = Fuzz(open_stack(state), seed=told.seed)
        asyncio.run(fuzz.run(kafka=told.kafka, http=told.http, files=told.files, internal=told.internal))
    print(shown(fuzz.table))
    for fault in fuzz.faults[:50]:
        print("FAULT", fault)
    print(f"{sum(fuzz.table.values())} inputs, {len(fuzz.faults)} faults, seed {told.seed}")
    raise SystemExit(bool(fuzz.faults))

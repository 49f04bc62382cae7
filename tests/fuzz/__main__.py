"""The long run: `make fuzz`, or `make fuzz ARGS="--count 50000 --seed 7"`. Starts a stack of its own, prints the table."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from deploy.stack.running import open_stack
from streams.frames import Schemas
from tests.command import oo
from tests.fuzz.outsiders import records
from tests.fuzz.path import Outcome, look, write


def main() -> None:
    """Exit status 1 where a record was lost, doubled or out of order, a good one was refused, or a process ended."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--count", type=int, default=12_000)
    asked.add_argument("--seed", type=int, default=0)
    args = asked.parse_args()
    outcome = Outcome()
    with tempfile.TemporaryDirectory(prefix="oo-fuzz-") as folder:
        state = Path(folder) / "state"
        print("starting a stack ...", flush=True)
        oo("up", "--detach", "--no-demo", f"--state={state}")
        try:
            stack = open_stack(state)
            before = _pids(state)
            schemas = Schemas(stack.registry_url, stack.prefix)
            asyncio.run(schemas.register())
            write(stack, records(seed=args.seed, count=args.count, schemas=schemas), outcome)
            schemas.close()
            print(f"{len(outcome.sent)} records written; looking where they come out ...", flush=True)
            asyncio.run(look(stack, outcome, within_s=300))
            ended = before != _pids(state)
        finally:
            oo("down", f"--state={state}")
    wrong = outcome.wrong()
    print(
        f"seed {args.seed}, {len(outcome.sent)} records, {len(wrong)} wrong, processes ended: {'yes' if ended else 'no'}"
    )
    print("| what was written | records | in the journal | refused |\n|---|---|---|---|")
    for name, count, journaled, said in outcome.table():
        print(f"| {name} | {count} | {journaled} | {said} |")
    print("\n".join(wrong[:50]))
    sys.exit(bool(wrong) or ended)


def _pids(state: Path) -> list[str]:
    said = open_stack(state).folder.read() or {}
    return sorted(f"{name} {part.get('pid')}" for name, part in said.get("parts", {}).items() if name != "demo")


if __name__ == "__main__":
    main()

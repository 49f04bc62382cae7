"""`make bench`: every benchmark, each beside its peer in the same run; prints, and writes docs/performance.{md,json}.

Starts a stack of its own in a temporary folder and ends it. Absolute times are shown only beside a ratio: machines
differ, and this one may be shared.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.stack.running import open_stack
from tests.bench.freshness import measure

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SEED = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One result: `value` and `peer` in `unit`, their ratio, and what it should be."""

    id: str
    what: str
    value: float
    unit: str
    peer: float
    ratio: float
    goal: str
    met: bool | None


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rate", type=int, default=50, help="signals a second")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of one turn")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="oo-bench-") as folder:
        state = Path(folder) / "state"
        console.print("starting a stack ...")
        _oo("up", "--detach", "--no-demo", f"--state={state}")
        try:
            rows = asyncio.run(_freshness(state, options))
        finally:
            _oo("down", f"--state={state}")
    show(rows, console)
    if not options.no_write:
        write(rows)


async def _freshness(state: Path, options: argparse.Namespace) -> list[Row]:
    ours, bare = await measure(open_stack(state), rate=options.rate, turns=options.turns, turn_s=options.seconds)
    if ours.missing or bare.missing:
        raise SystemExit(
            f"{ours.missing} signals got no tip, {bare.missing} records did not come through the bare loop"
        )
    rows = []
    for percentile, goal in ((50, 4.0), (99, None)):
        value, peer = ours.percentile(percentile), bare.percentile(percentile)
        rows.append(
            Row(
                id=f"freshness-p{percentile}-{options.rate}",
                what=f"signal acknowledged to tip in Valkey, p{percentile} at {options.rate}/s, n={len(ours.ms)}",
                value=round(value, 2),
                unit="ms",
                peer=round(peer, 2),
                ratio=round(value / peer, 2),
                goal="" if goal is None else f"<= {goal:g} x the bare three-hop loop",
                met=None if goal is None else value <= goal * peer,
            )
        )
    return rows


def show(rows: list[Row], console: Console) -> None:
    table = Table("what", "oO", "bare loop", "ratio", "goal", "met")
    for row in rows:
        met = "" if row.met is None else ("yes" if row.met else "no")
        table.add_row(row.what, f"{row.value} {row.unit}", f"{row.peer} {row.unit}", f"{row.ratio}", row.goal, met)
    console.print(table)


def write(rows: list[Row]) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    head = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "seed": SEED,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }
    found = [{**asdict(row), **head} for row in rows]
    (DOCS / "performance.json").write_text(json.dumps(found, indent=2) + "\n")
    lines = [
        "# Performance",
        "",
        "Written by `make bench`. Read the ratios: both sides ran in turns in the same run; the times alone say as",
        "much about the machine as about the program.",
        "",
        f"{head['date']}, commit {head['commit']}, {head['machine']}",
        "",
        "| what | oO | bare loop | ratio | goal | met |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        met = "" if row.met is None else ("yes" if row.met else "no")
        lines.append(
            f"| {row.what} | {row.value} {row.unit} | {row.peer} {row.unit} | {row.ratio} | {row.goal} | {met} |"
        )
    (DOCS / "performance.md").write_text("\n".join(lines) + "\n")


def _oo(*arguments: str) -> None:
    subprocess.run((sys.executable, "-m", "deploy.cli", *arguments), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

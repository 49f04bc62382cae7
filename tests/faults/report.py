"""The table of faults: printed, and written to docs/reliability.{md,json}."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.faults.rows import ROWS
from tests.faults.run import RECOVERY_GOAL_S, Result

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
INVARIANTS = {
    "I1": "no acknowledged event lost",
    "I2": "each reaction learned once",
    "I3": "rows = oracle = changelog",
    "I4": "the tip in Valkey never goes back",
    "I5": "history unique and complete",
    "I6": "nothing committed that is not durable",
    "I7": f"lag reaches 0 within {RECOVERY_GOAL_S:.0f} s",
    "I8": "every refused event in the dead letters with its reason",
}


def show(results: Sequence[Result], console: Console) -> None:
    table = Table("fault", "events", "lost", "doubled", "s to recover", "invariants")
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)


def write(results: Sequence[Result], *, seed: int) -> None:
    """Put these rows in place of those that stand there; rows that were not run stay, with their own commit."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    date, commit = datetime.datetime.now(datetime.UTC).date().isoformat(), git.stdout.strip()
    path = DOCS / "reliability.json"
    known = {row["id"]: row for row in json.loads(path.read_text())} if path.exists() else {}
    for result in results:
        # What this machine cannot run keeps what another one found.
        if not result.not_here or f"fault-{result.id}" not in known:
            known[f"fault-{result.id}"] = _row(result) | {"date": date, "commit": commit, "seed": seed}
    found = [known[f"fault-{row.id}"] for row in ROWS if f"fault-{row.id}" in known]
    path.write_text(json.dumps(found, indent=2) + "\n")
    (DOCS / "reliability.md").write_text("\n".join(_page(found)) + "\n")


def _page(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [
        "# Reliability",
        "",
        "Written by `make faults`: each fault is done to a running stack while events are written, and an oracle that",
        "shares only the pure `step` with the engine folds the raw log and compares. Seconds to recover are from the",
        "end of the fault to lag 0 in every consumer group and every tip in Valkey; they say as much about the machine",
        "as about the program. Networks are spoilt by a TCP proxy, and full disks are small mounts of their own: what a",
        "machine cannot do is named as not run.",
        "",
        "| fault | events | lost | doubled | seconds to recover | invariants | date, commit, seed |",
        "|---|---|---|---|---|---|---|",
        *(f"| {row['fault']} | {_found(row)} | {row['date']}, {row['commit']}, {row['seed']} |" for row in rows),
        "",
        "Held after each fault:",
        "",
        *(f"- {name}: {what}" for name, what in INVARIANTS.items()),
        *(["", "What broke, by an example:", ""] if any(row["broken"] for row in rows) else []),
        *(f"- {row['fault']}: {name}, {what}" for row in rows for name, what in row["broken"].items()),
    ]


def _found(row: dict[str, Any]) -> str:
    if row.get("not_here"):
        return f"| | | | not run: {row['not_here']}"
    return f"{row['events']} | {row['lost']} | {row['doubled']} | {row['value'] or 'never'} | {_kept(row['broken'])}"


def _kept(broken: Iterable[str]) -> str:
    return "all kept" if not list(broken) else "broken: " + ", ".join(sorted(broken))


def _cells(result: Result) -> tuple[str, ...]:
    if result.not_here:
        return (result.what, "", "", "", "", f"not run here: {result.not_here}")
    back = "never" if result.recovery_s is None else f"{result.recovery_s:.1f}"
    return (result.what, str(result.events), str(result.lost), str(result.doubled), back, _kept(result.broken))


def _row(result: Result) -> dict[str, Any]:
    in_time = result.recovery_s is not None and result.recovery_s <= RECOVERY_GOAL_S
    return {
        "id": f"fault-{result.id}",
        "what": f"{result.what}: time to lag 0",
        "value": None if result.recovery_s is None else round(result.recovery_s, 1),
        "unit": "s",
        "peer": None,
        "ratio": None,
        "goal": f"lost 0, doubled 0, I1 to I8 kept, lag 0 within {RECOVERY_GOAL_S:.0f} s",
        "met": result.kept and in_time and not result.not_here,
        "events": result.events,
        "lost": result.lost,
        "doubled": result.doubled,
        "fault": result.what,
        "not_here": result.not_here,
        "broken": {name: found[0] for name, found in sorted(result.broken.items())},
    }

"""oo status and oo topics: what runs, and how far it has read.

It never changes anything, and never prints a password.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, JsonOption, StateOption, open_state
from deploy.overview import SERVERS, overview, topic_rows
from deploy.stack.groups import view
from deploy.stack.state import StateFolder


def status(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """What runs, where, and how far each worker has read. Exit status 1 while it is not ready."""
    stack = open_state(state, ready=False)
    here, shown = bool(stack.ports), overview(stack)
    if as_json:
        print(json.dumps(shown, indent=2))
    elif here:
        show(shown, state)
    else:
        _show_outside(shown)
    if not shown["ready"]:
        raise SystemExit(1)


def topics(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Topics, partitions, offsets, and each group's lag."""
    stack = open_state(state)
    seen = view(stack.cluster)
    rows = topic_rows(seen)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("topic", "partitions", "records", "first to next offset", "lag by group", box=None, pad_edge=False)
    for row in rows:
        spans = " ".join(f"{start}-{end}" for start, end in row["offsets"])
        lags = ", ".join(f"{group} {lag}" for group, lag in row["lag"].items())
        table.add_row(row["topic"], str(row["partitions"]), str(row["records"]), spans, lags)
    Console(highlight=False, width=None).print(table)


def show(shown: dict[str, Any], state: Path) -> None:
    """The same for a person."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    lines = [(name, shown[name], shown[name][key]) for name, key in SERVERS.items() if name in shown]
    for worker in shown["workers"]:
        counts = [f"{len(numbers)} of {topic}" for topic, numbers in (worker["partitions"] or {}).items()]
        lag = "?" if worker["lag"] is None else worker["lag"]
        reads = f"lag {lag}; {', '.join(counts) or 'no partitions'}"
        if worker["id"] == "shadow":
            reads = f"lag {lag}; reads all decisions and outcomes, in no group"
        lines.append((worker["id"], worker, f"{worker['app']}: {reads}"))
    width = max(len(name) for name, _, _ in lines)
    for name, part, where in lines:
        restarts = f" (restarted {part['restarts']} times)" if part["restarts"] else ""
        console.print(f"{name:<{width}}  {_life_in_words(part):<17}  {where}{restarts}")
    _say_verified(console, shown["verified"])
    if shown["ready"]:
        console.print("Ready.")
        return
    _say_stalls(console, shown)
    waiting = [name for name, part, _ in lines if not part["ready"]]
    logs = StateFolder(state.resolve()).logs
    console.print(f"Not ready ({shown['phase']}): waits for {', '.join(waiting) or _last(shown)}; see {logs}.")


def _show_outside(shown: dict[str, Any]) -> None:
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.print(f"kafka  {shown['kafka']['bootstrap']}")
    for worker in shown["workers"]:
        lag = "?" if worker["lag"] is None else worker["lag"]
        console.print(f"{worker['id']}  {worker['app']}: lag {lag}")
    _say_stalls(console, shown)
    console.print("Ready." if shown["ready"] else "Not ready: no worker reads, or Kafka does not answer.")


def _say_stalls(console: Console, shown: dict[str, Any]) -> None:
    for stall in shown["stalled"]:
        where = f"{stall['topic']}-{stall['partition']}"
        at = "" if stall["offset"] is None else f" at offset {stall['offset']}"
        console.print(f"stands: {where}{at}: {stall['cause']}")


def _say_verified(console: Console, verified: dict[int, dict[str, Any]]) -> None:
    compared = [one for one in verified.values() if one["at_ms"]]
    if compared:
        since = datetime.fromtimestamp(min(one["at_ms"] for one in compared) / 1000, UTC).isoformat(timespec="minutes")
        found = sum(one["differences"] for one in compared)
        console.print(f"verified: {len(compared)} partitions since {since}, {found} differences")
    for number, one in verified.items():
        for what in (*one["shown"], *filter(None, (one["why_not"],))):
            console.print(f"  partition {number}: {what}")


def _last(shown: dict[str, Any]) -> str:
    return "what stands" if shown["stalled"] else "the last steps"


def _life_in_words(part: dict[str, Any]) -> str:
    if not part["pid"]:
        return "down"
    return f"{part['pid']}" if part["ready"] else f"{part['pid']} starting"

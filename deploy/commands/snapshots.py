"""oo snapshots: which row snapshots there are, asking for new ones, and what has to be done with them once a day."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, open_state
from deploy.stack.running import RunningStack
from streams.clock import clock_ms
from streams.reader import end_offsets, topic_id
from streams.topics import JOURNAL_DAYS
from streams.units import DAY_MS
from tables.snapshots import Snapshot, Snapshots

MADE_WITHIN_S = 120.0
"""What `make` waits for; of more rows than fit into that it says that they are being written."""

DaysOption = Annotated[
    int, typer.Option("--days", min=0, envvar="OO_JOURNAL_DAYS", help="Trim what is older; 0: all that may go.")
]


def listed(context: typer.Context, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Which there are: of which partition, up to which journal offset, since when, and whether a fold gave the same."""
    if context.invoked_subcommand is not None:
        return
    stack = _open(state)
    some = asyncio.run(_snapshots(stack)).all()
    if as_json:
        print(json.dumps([_told(one) for one in some]))
        return
    table = Table("partition", "up to offset", "made", "bytes", "verified", "file")
    for one in some:
        made = datetime.fromtimestamp(one.made_ms / 1000, UTC).isoformat(timespec="seconds")
        verified = "yes" if one.verified else "not yet"
        table.add_row(str(one.partition), str(one.offset), made, str(_told(one)["bytes"]), verified, one.path.name)
    Console(highlight=False).print(table)


def make(state: StateOption = DEFAULT_STATE) -> None:
    """Have the workers put away the rows of every partition as they are now; returns once they have."""
    count = asyncio.run(_make(_open(state)))
    print(f"{count} row snapshots made; 'oo snapshots verify' holds them against the journal")


def verify(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Fold the journal up to each snapshot that is not verified yet; exit status 1 where one is not what a fold gives."""
    _tended(state, None, as_json=as_json)


def tend(state: StateOption = DEFAULT_STATE, days: DaysOption = JOURNAL_DAYS, as_json: JsonOption = False) -> None:
    """Verify what is new, then trim the journal below what was verified: to be called once a day, as `oo up` does by itself."""
    _tended(state, clock_ms() - days * DAY_MS, as_json=as_json)


def _open(state: Path, *needed: str) -> RunningStack:
    return open_state(state, "row_snapshots_dir", *needed, ready=False)


def _tended(state: Path, before_ms: int | None, *, as_json: bool) -> None:
    from deploy.snapshots import tend as verify_and_trim

    verified, trimmed = asyncio.run(verify_and_trim(_open(state, "mac_key_file", "kek_dir"), before_ms=before_ms))
    failed = [one for one in verified if one.why_not]
    if as_json:
        shown = [{**_told(one.snapshot), "why_not": one.why_not, "shown": one.shown} for one in verified]
        print(json.dumps({"verified": shown, "journal_begins": trimmed}))
    else:
        for one in verified:
            print(f"{one.snapshot.path.name}: {one.why_not or 'verified'}", *one.shown, sep="\n  ")
        for number, begins in trimmed.items():
            print(f"partition {number} of the journal begins at offset {begins} now")
        print(
            f"{len(verified) - len(failed)} row snapshots verified, {len(failed)} not, {len(trimmed)} partitions trimmed"
        )
    if failed:
        raise typer.Exit(1)


def _told(one: Snapshot) -> dict[str, object]:
    return {
        "partition": one.partition,
        "offset": one.offset,
        "made_ms": one.made_ms,
        "bytes": one.size,
        "verified": one.verified,
        "file": str(one.path),
    }


async def _snapshots(stack: RunningStack) -> Snapshots:
    return stack.snapshots(await topic_id(stack.cluster, "journal"))


async def _make(stack: RunningStack) -> int:
    snapshots = await _snapshots(stack)
    wanted_ms, until_s = snapshots.want(), time.monotonic() + MADE_WITHIN_S
    ends = await end_offsets(stack.cluster, stack.cluster.name("journal"))
    due = {number for number, end in ends.items() if end}
    while True:
        made = {one.partition for one in snapshots.all() if one.made_ms > wanted_ms}
        if made >= due:
            return len(made)
        if time.monotonic() > until_s:
            raise CommandError(
                f"of partitions {', '.join(map(str, sorted(due - made)))} none was made within {MADE_WITHIN_S:.0f} s: 'oo status' shows "
                "whether their workers run and how far behind they are"
            )
        await asyncio.sleep(0.2)

"""oo state: what is known of one user. It only reads, and shows texts only where somebody asks for them, which is noted."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, UserOption, open_state
from deploy.masks import masked
from deploy.rows import row_of
from oo.v1 import decision_pb2, outcome_pb2, row_pb2
from streams.units import DAY_MS, HOUR_MS
from tables import ids
from tables.row import BLOCKS, spelled_out
from tables.zones import part_name

REACTIONS = {
    "done": outcome_pb2.Outcome.DONE,
    "snooze": outcome_pb2.Outcome.SNOOZE,
    "dismiss": outcome_pb2.Outcome.DISMISS,
}
TIP_KINDS = {
    "task": decision_pb2.Decision.TASK,
    "starter": decision_pb2.Decision.STARTER,
    "generated": decision_pb2.Decision.GENERATED,
}


def state(
    user: UserOption,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="With texts; noted in oo.audit first.")] = False,
) -> None:
    """What is known of one user: backlog, calendar, windows, decisions, fences; texts are covered without --reveal."""
    stack = open_state(state, "kek_dir", "name_key_file", *(["registry_url"] if reveal else []), ready=False)
    whose = stack.pseudonym(user)
    row = asyncio.run(row_of(stack, whose))
    if row is None:
        raise CommandError(f"nothing is known of {user}: 'oo import FILE --user {user}' brings in what they have to do")
    if reveal:
        from deploy.audit import note

        asyncio.run(note(stack, "oo state --reveal", whose=whose.encode()))
    size, row = row.ByteSize(), spelled_out(row)
    if not reveal:
        row = masked(row)
    if as_json:
        shown = MessageToDict(row, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        # The row keeps ids of decisions as bytes; everybody else knows them as they are spelled.
        for one, pending in zip(shown["pending"], row.pending, strict=True):
            one["decision_id"] = ids.spelled(pending.decision_id)
        for name in BLOCKS:
            del shown[name]  # Spelled out in other fields.
        shown["reactions"] = _reactions(row)
        shown["current_decision_id"] = ids.spelled(row.pending[-1].decision_id) if row.pending else ""
        print(json.dumps(shown, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(
        f"{user}{f' ({row.user_id})' if row.user_id != user else ''}: {len(row.tasks)} tasks, {len(row.events)} events, {len(row.pending)} decisions "
        f"that can be learned from; journal offset {row.journal_offset}, {size} bytes"
    )
    table = Table("task", "priority", "source", "shown", "dismissed")
    for task in row.tasks:
        table.add_row(
            task.title,
            "ABCD"[task.priority - 1] if task.priority else "",
            task.source,
            str(task.shown),
            str(task.dismissed),
        )
    console.print(table)
    if not reveal:
        console.print("[dim]Texts are covered; --reveal shows them, and notes that you looked ('oo audit').[/dim]")


def _reactions(row: row_pb2.UserRow) -> dict[str, Any]:
    """What the windows hold, counted: by span, and in it by tip kind and by part of the day."""
    from tables import windows

    spans = {"1h": HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "28d": 28 * DAY_MS}

    def counted(tally: windows.Tally, **only: int) -> dict[str, int]:
        return {name: windows.total(tally, reaction=reaction, **only) for name, reaction in REACTIONS.items()}

    kept = windows.kept(row)
    tallies = {span: windows.last(kept, now_ms=row.now_ms, span_ms=span_ms) for span, span_ms in spans.items()}
    return {
        span: {
            **counted(tally),
            "by_kind": {name: counted(tally, kind=kind) for name, kind in TIP_KINDS.items()},
            "by_part": {part_name(part): counted(tally, part=part) for part in range(4)},
        }
        for span, tally in tallies.items()
    }

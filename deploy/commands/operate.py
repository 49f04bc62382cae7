"""oo verify, state and dead-letters: looking into a running stack.

It never changes a row; only `dead-letters redrive` writes, and says what.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from aiokafka.partitioner import murmur2
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from agents.rows import read_rows
from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, UserOption, open_state
from deploy.letters import CannotRedrive, Letter, letters, once, target
from deploy.letters import redrive as send_again
from deploy.stack.running import RunningStack
from deploy.verify import Live, NotSettled, Report
from deploy.verify import verify as compare
from oo.v1 import decision_pb2, outcome_pb2, row_pb2
from streams.producer import Producer
from streams.reader import read_partition, topic_ids
from streams.topics import topics
from streams.units import DAY_MS, HOUR_MS
from tables import ids, windows
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

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only letters of this reason.")]


def verify(state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """Fold the journal again and compare it with what is live; exit status 1 at a difference."""
    stack = open_state(state, ready=False)
    live = Live(
        bootstrap=stack.bootstrap,
        recommender_dsn=stack.recommender_dsn,
        valkey_url=stack.valkey_url,
        mac_key=stack.mac_key_file.read_bytes(),
        prefix=stack.prefix,
        security=stack.security,
    )
    with Progress(console=Console(stderr=True), transient=True, disable=as_json) as bar:
        task = bar.add_task("folding the journal", total=None)
        try:
            report = asyncio.run(
                compare(live, progress=lambda done, total: bar.update(task, completed=done, total=max(total, 1)))
            )
        except NotSettled as error:
            raise CommandError(str(error)) from None
    print(json.dumps(_as_dict(report)) if as_json else _in_words(report))
    if report.differences:
        raise typer.Exit(1)


def state(user: UserOption, state: StateOption = DEFAULT_STATE, as_json: JsonOption = False) -> None:
    """What is known of one user: backlog, calendar, windows, decisions, fences."""
    row = asyncio.run(row_of(open_state(state, ready=False), user))
    if row is None:
        raise CommandError(f"nothing is known of {user}: 'oo import FILE --user {user}' brings in what they have to do")
    if as_json:
        shown = MessageToDict(row, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        # The row keeps ids of decisions as bytes; everybody else knows them as they are spelled.
        for one, pending in zip(shown["pending"], row.pending, strict=True):
            one["decision_id"] = ids.spelled(pending.decision_id)
        shown["reactions"] = _reactions(row)
        shown["current_decision_id"] = ids.spelled(row.pending[-1].decision_id) if row.pending else ""
        print(json.dumps(shown, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(
        f"{row.user_id}: {len(row.tasks)} tasks, {len(row.events)} events, {len(row.pending)} decisions "
        f"that can be learned from; journal offset {row.journal_offset}, {row.ByteSize()} bytes"
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


def dead_letters_list(
    state: StateOption = DEFAULT_STATE,
    reason: ReasonOption = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """What was refused, the newest last."""
    found = asyncio.run(_letters(open_state(state, ready=False), reason))
    if as_json:
        print(json.dumps([_letter(one) for one in found[-limit:]]))
        return
    if not found:
        print("no dead letters")
        return
    table = Table("id", "reason", "detail", "bytes")
    for one in found[-limit:]:
        table.add_row(one.id, one.message.reason, one.message.detail, str(one.message.original_length))
    Console(highlight=False).print(table)
    if len(found) > limit:
        print(f"{len(found)} in all; --limit shows more")


def dead_letters_show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="TOPIC/PARTITION/OFFSET, as the list shows it.")],
    state: StateOption = DEFAULT_STATE,
) -> None:
    """One letter whole, as JSON; the original is in base64."""
    one = _only(asyncio.run(_letters(open_state(state, ready=False), None)), letter_id)
    print(json.dumps(MessageToDict(one.message, preserving_proto_field_name=True), indent=2))


def dead_letters_redrive(
    letter_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One letter.")] = None,
    state: StateOption = DEFAULT_STATE,
    reason: ReasonOption = None,
) -> None:
    """Send refused records again, as they came: one by its id, or all of one reason."""
    if (letter_id is None) == (reason is None):
        raise typer.BadParameter("name one ID, or --reason for all of one reason")
    stack = open_state(state, ready=False)
    found = asyncio.run(_letters(stack, reason))
    if letter_id is not None:
        found = [_only(found, letter_id)]
    if not found:
        raise CommandError(f"no dead letter has the reason {reason}")
    sent, kept = asyncio.run(_redrive(stack, found))
    print(f"{sent} sent again" + (f", {len(kept)} not: {kept[0]}" if kept else ""))
    if kept:
        raise typer.Exit(1)


def _reactions(row: row_pb2.UserRow) -> dict[str, Any]:
    """What the windows hold, counted: by span, and in it by tip kind and by part of the day."""
    spans = {"1h": HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "28d": 28 * DAY_MS}

    def counted(tally: windows.Tally, **only: int) -> dict[str, int]:
        return {name: windows.total(tally, reaction=reaction, **only) for name, reaction in REACTIONS.items()}

    tallies = {span: windows.last(row.windows, now_ms=row.now_ms, span_ms=span_ms) for span, span_ms in spans.items()}
    return {
        span: {
            **counted(tally),
            "by_kind": {name: counted(tally, kind=kind) for name, kind in TIP_KINDS.items()},
            "by_part": {part_name(part): counted(tally, part=part) for part in range(4)},
        }
        for span, tally in tallies.items()
    }


async def row_of(stack: RunningStack, user: str) -> row_pb2.UserRow | None:
    """The person's row as it stands in the changelog."""
    table = topics(stack.prefix)
    key = user.encode()
    partition = (murmur2(key) & 0x7FFFFFFF) % table["rows"].partitions
    journal_id = (await topic_ids(stack.bootstrap, [table["journal"].name], security=stack.security))[
        table["journal"].name
    ]
    changelog = read_partition(stack.bootstrap, table["rows"].name, partition, ours=True, security=stack.security)
    message = (await read_rows(changelog, journal_id=journal_id)).get(user)
    return None if message is None else row_pb2.UserRow.FromString(message)


async def _letters(stack: RunningStack, reason: str | None) -> list[Letter]:
    return [one async for one in letters(stack.bootstrap, prefix=stack.prefix, reason=reason, security=stack.security)]


async def _redrive(stack: RunningStack, found: list[Letter]) -> tuple[int, list[str]]:
    producer, kept, sent = Producer(stack.bootstrap, client_id="oo-redrive", security=stack.security), [], 0
    try:
        for one in once(found):
            try:
                target(one.message, prefix=stack.prefix)
            except CannotRedrive as error:
                kept.append(f"{one.id}: {error}")
                continue
            await producer.room()
            await send_again(one, producer, prefix=stack.prefix)
            sent += 1
    finally:
        await producer.close()
    return sent, kept


def _only(found: list[Letter], letter_id: str) -> Letter:
    one = next((one for one in found if one.id == letter_id), None)
    if one is None:
        raise CommandError(f"no dead letter {letter_id}: 'oo dead-letters list' shows their ids")
    return one


def _letter(one: Letter) -> dict[str, Any]:
    return {
        "id": one.id,
        "topic": one.message.topic,
        "partition": one.message.partition,
        "offset": one.message.offset,
        "reason": one.message.reason,
        "detail": one.message.detail,
        "bytes": one.message.original_length,
        "refused_ms": one.message.refused_ms,
    }


def _as_dict(report: Report) -> dict[str, Any]:
    return {
        "records": report.records,
        "rows": report.rows,
        "decisions": report.decisions,
        "vectors": report.vectors,
        "outcomes": report.outcomes,
        "tips": report.tips,
        "differences": report.differences,
        "shown": report.shown,
    }


def _in_words(report: Report) -> str:
    compared = (
        f"{report.records} journal records folded: {report.rows} rows, {report.decisions} decisions "
        f"({report.vectors} vectors of features), {report.outcomes} outcomes and {report.tips} tips compared, {report.differences} differences"
    )
    return "\n".join([compared, *report.shown])

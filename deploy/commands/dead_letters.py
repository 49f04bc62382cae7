"""oo dead-letters: what the door refused, and sending it again.

Only `redrive` writes, and says what; `show` is noted in oo.audit before it shows a record.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.table import Table

from connectors.leaving import leavers_of
from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, open_state
from deploy.keys import read_keys
from deploy.letters import CannotRedrive, Letter, letters, once, target, whom
from deploy.letters import redrive as send_again
from deploy.stack.running import RunningStack
from streams.producer import Producer
from tables.pseudonyms import Pseudonyms

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only letters of this reason.")]


def listed(
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
        size = one.away or str(one.message.original_length)
        table.add_row(one.id, one.message.reason, one.message.detail, size)
    Console(highlight=False).print(table)
    if len(found) > limit:
        print(f"{len(found)} in all; --limit shows more")


def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="TOPIC/PARTITION/OFFSET, as the list shows it.")],
    state: StateOption = DEFAULT_STATE,
) -> None:
    """One letter whole, as JSON; the original is in base64. It is noted in oo.audit first. Where it cannot be opened, `sealed` says why."""
    stack = open_state(state, "registry_url", "name_key_file", ready=False)
    one = _only(asyncio.run(_letters(stack, None)), letter_id)
    if not one.away:
        from deploy.audit import note

        # A record without a value has a key and headers.
        whose = next((name.encode() for name in whom(one, Pseudonyms.in_file(stack.name_key_file))), None)
        asyncio.run(note(stack, "oo dead-letters show", whose=whose, letter_id=one.id))
    shown = MessageToDict(one.message, preserving_proto_field_name=True)
    print(json.dumps(shown | {"sealed": one.away} if one.away else shown, indent=2))


def redrive(
    letter_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One letter.")] = None,
    state: StateOption = DEFAULT_STATE,
    reason: ReasonOption = None,
) -> None:
    """Send refused records again, as they came: one by its id, or all of one reason."""
    if (letter_id is None) == (reason is None):
        raise typer.BadParameter("name one ID, or --reason for all of one reason")
    stack = open_state(state, "kek_dir", "name_key_file", ready=False)
    found = asyncio.run(_letters(stack, reason))
    if letter_id is not None:
        found = [_only(found, letter_id)]
    if not found:
        raise CommandError(f"no dead letter has the reason {reason}")
    sent, kept = asyncio.run(_redrive(stack, found))
    print(f"{sent} sent again" + (f", {len(kept)} not: {kept[0]}" if kept else ""))
    if kept:
        raise typer.Exit(1)


async def _letters(stack: RunningStack, reason: str | None) -> list[Letter]:
    return await letters(stack.cluster, stack.kek_dir, reason=reason)


async def _redrive(stack: RunningStack, found: list[Letter]) -> tuple[int, list[str]]:
    keys = await read_keys(stack.cluster, stack.kek_dir)
    leavers, pseudonyms = await leavers_of(stack.cluster), Pseudonyms.in_file(stack.name_key_file)
    producer, kept, sent = Producer(stack.cluster, client_id="oo-redrive"), [], 0
    try:
        for one in once(found):
            try:
                target(one, cluster=stack.cluster, keys=keys, leavers=leavers, pseudonyms=pseudonyms)
            except CannotRedrive as error:
                kept.append(f"{one.id}: {error}")
                continue
            await producer.room()
            await send_again(one, producer, cluster=stack.cluster, keys=keys, leavers=leavers, pseudonyms=pseudonyms)
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
        "bytes": None if one.away else one.message.original_length,
        "refused_ms": one.message.refused_ms,
        "sealed": one.away or None,
    }

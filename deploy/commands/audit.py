"""oo audit: which commands showed a person's texts, sent dead letters again or said which policy decides. It only reads."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, JsonOption, StateOption, open_state
from oo.v1.audit_pb2 import AuditEntry
from streams.cluster import Cluster
from streams.frames import Frames
from streams.messages import messages
from streams.reader import read_partition


class Found(NamedTuple):
    """One entry, with what Kafka says of it."""

    noted_ms: int
    user: str
    entry: AuditEntry


def audit(
    user: Annotated[str | None, typer.Option("--user", "-u", help="Only what is of this person.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Which commands showed a person's texts, sent a dead letter again or promoted a policy, when, and who ran them; the newest last."""
    stack = open_state(state, *([] if user is None else ["name_key_file"]), ready=False)
    whose = None if user is None else stack.pseudonym(user)
    shown = [one for one in asyncio.run(_found(stack.cluster)) if whose in (None, one.user)][-limit:]
    if as_json:
        print(json.dumps([_spelled(one) for one in shown], ensure_ascii=False))
        return
    if not shown:
        print("nobody has looked")
        return
    table = Table("when (UTC)", "command", "whose", "account", "Kafka user")
    for one in shown:
        when = datetime.fromtimestamp(one.noted_ms / 1000, UTC)
        whose = one.user or one.entry.letter_id
        table.add_row(f"{when:%Y-%m-%d %H:%M:%S}", one.entry.command, whose, one.entry.account, one.entry.kafka_user)
    Console(highlight=False).print(table)


async def _found(cluster: Cluster) -> list[Found]:
    frames, topic, found = Frames(), cluster.topics["audit"], list[Found]()
    for number in range(topic.partitions):
        async for record, entry in messages(frames, "audit", read_partition(cluster, topic.name, number)):
            # Where what was sent again then stood is 'oo dead-letters list' to say.
            if isinstance(entry, AuditEntry) and not entry.redrive.is_sent:
                found.append(Found(record.timestamp_ms, (record.key or b"").decode(errors="replace"), entry))
    return sorted(found, key=lambda one: one.noted_ms)


def _spelled(one: Found) -> dict[str, str | int]:
    return {
        "noted_ms": one.noted_ms,
        "command": one.entry.command,
        "user": one.user,
        "letter_id": one.entry.letter_id,
        "account": one.entry.account,
        "kafka_user": one.entry.kafka_user,
    }

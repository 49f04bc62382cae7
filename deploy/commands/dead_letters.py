"""oo dead-letters: what the door refused, and sending it again.

Only `redrive` writes, and says what; it and `show` are noted in oo.audit before they do anything.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from google.protobuf.json_format import MessageToDict, MessageToJson
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, AsOption, CommandError, JsonOption, StateOption, open_state
from deploy.commands.since import SINCE_HELP, here_ms
from deploy.letters import CannotRedrive, Letter, Wanted, over_time, said_by, whom
from deploy.redriven import Fate, all_letters
from deploy.stack.rights import REDRIVER
from deploy.stack.running import RunningStack
from streams.dead_letters import SAID_ON
from streams.topics import topics
from streams.units import DAY_MS, HOUR_MS
from tables.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from deploy.redriving import Ready, Report

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only letters of this reason.")]
TopicOption = Annotated[
    str | None, typer.Option("--topic", help="Only of records of this topic, such as signals or oo.signals.")
]
PartitionOption = Annotated[int | None, typer.Option("--partition", min=0, help="Only of this partition of theirs.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help=f"Only what was refused from then on: {SINCE_HELP}.", show_default=False)
]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only what was refused before then; as --since.")]
UserOption = Annotated[str | None, typer.Option("--user", "-u", help="Only letters that name this person.")]
OpenOption = Annotated[bool, typer.Option("--open", help="Only what was not sent again, or failed once more.")]
RULES = frozenset(("invalid", "time-ahead", "time-behind", "unknown-time-zone"))
"""Reasons whose detail begins with the place of the fault: what could be read breaks a rule."""
BAR_MAX = 40
DETAIL_MAX = 90
"""Characters of a detail in the list; `show` has all of it."""


def listed(
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    user: UserOption = None,
    only_open: OpenOption = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 50,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """What was refused and what became of it, the newest last."""
    stack = _open(state, user)
    wanted = _wanted(stack, reason, topic, partition, since, until, user)
    found, fates = _letters(stack, wanted, only_open=only_open)
    if as_json:
        print(json.dumps([_letter(one, fates[one.name]) for one in found[-limit:]]))
        return
    if not found:
        print("no dead letters")
        return
    table = _table("refused", "reason", "detail", "bytes", "state")
    for one in found[-limit:]:
        size = one.away or str(one.message.original_length)
        detail = shorten(one.message.detail, DETAIL_MAX, placeholder=" …")
        refused = _when(one.message.refused_ms)[5:]
        table.add_row(one.id, refused, one.message.reason, detail, size, fates[one.name].state)
    Console(highlight=False, markup=False).print(table)
    if len(found) > limit:
        print(f"{len(found)} in all; --limit shows more")


def counts(
    by: Annotated[Literal["hour", "day"], typer.Option("--by", help="How long each line lasts.")] = "day",
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    user: UserOption = None,
    only_open: OpenOption = False,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """How many were refused, by reason and over time."""
    stack = _open(state, user)
    wanted = _wanted(stack, reason, topic, partition, since, until, user)
    found, fates = _letters(stack, wanted, only_open=only_open)
    total = Counter(one.message.reason for one in found)
    still = Counter(one.message.reason for one in found if fates[one.name].is_open)
    steps = over_time(found, HOUR_MS if by == "hour" else DAY_MS)
    if as_json:
        reasons = [{"reason": one, "letters": n, "open": still[one]} for one, n in total.most_common()]
        told_steps = [{"from_ms": begin, "reasons": dict(some)} for begin, some in steps]
        print(json.dumps({"reasons": reasons, "by": by, "over_time": told_steps}))
        return
    if not found:
        print("no dead letters")
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    width = max(map(len, total))
    for one, n in total.most_common():
        console.print(f"{one:{width}} {n:>7}  {still[one]:>7} open")
    console.print(f"\nby {by} (UTC)")
    most = max(some.total() for _, some in steps)
    # What is drawn gives way to what is said on a narrow terminal.
    room = max(5, min(BAR_MAX, console.width - 60))
    for begin, some in steps:
        told = ", ".join(f"{one} {n}" for one, n in some.most_common())
        length = -(-some.total() * room // most)
        bar = ("█" if (console.encoding or "").startswith("utf") else "#") * length
        console.print(f"{_when(begin)[: 16 if by == 'hour' else 10]} {some.total():>6} {bar:{room}} {told}".rstrip())


def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="TOPIC/PARTITION/OFFSET, as the list shows it.")],
    message: Annotated[
        bool, typer.Option("--message", help="Only what it says, as JSON: to be edited, for redrive --edit.")
    ] = False,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """One letter whole, as JSON: `decoded` as far as it can be read, `place` where that ends; the original is in base64.

    It is noted in oo.audit first. Where it cannot be opened, `sealed` says why.
    """
    stack = open_state(state, "registry_url", "name_key_file", ready=False)
    found, fates = _letters(stack, Wanted())
    one = _only(found, letter_id)
    if not one.away:
        from deploy.audit import note

        # A record without a value has a key and headers.
        whose = next((name.encode() for name in whom(one, Pseudonyms.in_file(stack.name_key_file))), None)
        asyncio.run(note(stack, "oo dead-letters show", whose=whose, letter_id=one.id))
    read = {} if one.away else _read(stack, one)
    if message:
        if "message" not in read.get("decoded", {}):
            raise CommandError(f"nothing of {one.id} can be read: {one.away or 'what it holds is no message'}")
        print(json.dumps(read["decoded"]["message"], indent=2, ensure_ascii=False))
        return
    fate = _fate(fates[one.name])
    whole = MessageToDict(one.message, preserving_proto_field_name=True)
    print(json.dumps(whole | ({"sealed": one.away} if one.away else read) | fate, indent=2))


def redrive(
    letter_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One letter.")] = None,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    partition: PartitionOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    user: UserOption = None,
    edit: Annotated[
        Path | None,
        typer.Option(
            "--edit",
            help="In place of what came: a file with the message as JSON (- for standard input), or where no ID is "
            'given one line a letter, {"id": ..., "message": {...}}. The door\'s own rules are checked first.',
        ),
    ] = None,
    repeat: Annotated[
        bool, typer.Option("--again", help="Also what was sent again before. At the door it counts once.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go where, and what the door would say; send nothing.")
    ] = False,
    role: AsOption = "",
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """Send refused records again, to where they came from, with their key and headers: one by its id, or all that is open of a filter.

    Each is noted in oo.audit. Cut off anywhere and begun again, each goes once.
    """
    filters = (reason, topic, partition, since, until, user)
    if letter_id is not None and any(one is not None for one in filters):
        raise typer.BadParameter("name one ID, or filters such as --reason; not both")
    if letter_id is None and edit is None and all(one is None for one in filters):
        raise typer.BadParameter("name one ID, or say which: --reason, --topic, --partition, --since, --until, --user")
    needed = ("kek_dir", "name_key_file", "registry_url", *(["mac_key_file"] if edit or dry_run else []))
    stack = open_state(state, *needed, ready=False)
    edits = {} if edit is None else _edits(edit, letter_id)
    found, fates = _letters(stack, _wanted(stack, *filters))
    if letter_id is not None:
        found = [_only(found, letter_id)]
    elif edit is not None:
        found = [_only(found, one) for one in edits]
    elif not found:
        told = (
            f"no dead letter has the reason {reason}" if filters[1:] == (None,) * 5 else "no dead letter is like that"
        )
        raise CommandError(f"{told}: 'oo dead-letters counts' shows what there is")
    chosen = [one for one in found if repeat or fates[one.name].is_open]
    if dry_run:  # Which needs no other role.
        _dry_run(stack, found, chosen, edits, as_json=as_json)
        return
    from deploy.redriving import Report, redrive_letters

    before = len(found) - len(chosen)
    report = Report()
    if chosen:
        by = stack.as_named(role, REDRIVER)
        report = asyncio.run(redrive_letters(stack, by, chosen, {} if repeat else fates, edits=edits, progress=_told))
    if as_json:
        shown = {
            "sent": [one.id for one in report.sent],
            "found_sent": [one.id for one in report.found],
            "not_sent": [{"id": one.id, "why": why} for one, why in report.not_sent],
            "before": [{"id": one.id, **_fate(fates[one.name])} for one in found if one not in chosen],
        }
        print(json.dumps(shown))
    else:
        _say(report.sent, report.found, report.not_sent, before, fates, found)
    if report.not_sent:
        raise typer.Exit(1)


def _say(
    sent: Sequence[Letter],
    stood: Sequence[Letter],
    not_sent: Sequence[tuple[Letter, str]],
    before: int,
    fates: Mapping[str, Fate],
    found: Sequence[Letter],
) -> None:
    said = [f"{len(sent)} sent again"]
    if stood:
        said.append(f"{len(stood)} stood there already, of a redrive that was cut off")
    if before and len(found) == 1:
        fate = fates[found[0].name]
        became = f", as {fate.became.id}" if fate.became is not None else ""
        said.append(f"it was sent again before ({fate.state}{became}); --again sends it once more")
    elif before:
        said.append(f"{before} were before")
    if not_sent:
        said.append(f"{len(not_sent)} not: {not_sent[0][0].id}: {not_sent[0][1]}")
    print(", ".join(said))


def _told(done: int, total: int) -> None:
    """How far it is, on a terminal."""
    told = Console(stderr=True)
    if told.is_terminal:
        told.print(f"{done} of {total}", end="\n" if done == total else "\r")


def _dry_run(
    stack: RunningStack, found: Sequence[Letter], chosen: Sequence[Letter], edits: Mapping[str, bytes], *, as_json: bool
) -> None:
    from deploy.redriving import Redriving
    from deploy.writing import writing

    async def prepared() -> tuple[list[Ready], Report]:
        async with writing(stack, client_id="oo-redrive") as (producer, schemas):
            return await Redriving(stack, stack, producer, schemas).prepare(chosen, edits=edits, is_asked=True)

    ready, report = asyncio.run(prepared())
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "id": one.letter.id,
                "topic": one.again.topic,
                "partition": one.partition,
                "key_bytes": len(one.again.key or b""),
                "bytes": len(one.again.value),
                "headers": [name for name, _ in one.again.headers],
                "edited": one.is_edited,
                "door": one.would_be or None,
            }
            for one in ready
        ]
        print(json.dumps(rows + [{"id": one.id, "not_sent": why} for one, why in report.not_sent]))
        return
    table = _table("goes to", "what", "the door")
    for one in ready:
        key = f"its key of {len(one.again.key)} bytes" if one.again.key else "no key"
        value = f"{len(one.again.value)} bytes {'as edited' if one.is_edited else 'as they came'}"
        what = f"{value}, {key}, {len(one.again.headers) - 1} headers and oo_redriven"
        table.add_row(one.letter.id, f"{one.again.topic}/{one.partition}", what, one.would_be or "takes it")
    for letter, why in report.not_sent:
        table.add_row(letter.id, "nowhere", why, "")
    Console(highlight=False, markup=False).print(table)
    before = f"; {len(found) - len(chosen)} were sent again before" if len(found) > len(chosen) else ""
    print(f"{len(ready)} would be sent again, {len(report.not_sent)} not{before}. Nothing was sent.")


def _edits(file: Path, letter_id: str | None) -> dict[str, bytes]:
    """The messages, by letter id."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None
    if letter_id is not None:
        return {letter_id: text.encode()}
    edits = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            said = json.loads(line)
            edits[str(said["id"])] = json.dumps(said["message"]).encode()
        except (ValueError, RecursionError, KeyError, TypeError):
            raise CommandError(f'{file}, line {number}: not of the form {{"id": ..., "message": {{...}}}}') from None
    if not edits:
        raise CommandError(f"{file} names no letter")
    return edits


def _open(state: Path, user: str | None) -> RunningStack:
    return open_state(state, *([] if user is None else ["name_key_file"]), ready=False)


def _wanted(
    stack: RunningStack,
    reason: str | None,
    topic: str | None,
    partition: int | None,
    since: str | None,
    until: str | None,
    user: str | None,
) -> Wanted:
    if topic is not None and topic in topics():
        topic = stack.cluster.name(topic)
    elif topic is not None and topic not in {one.name for one in stack.cluster.topics.values()}:
        raise CommandError(f"there is no topic {topic}: 'oo topics' lists them")
    whose = None if user is None else stack.pseudonym(user)
    pseudonyms = Pseudonyms(b"") if user is None else Pseudonyms.in_file(stack.name_key_file)
    return Wanted(
        reason=reason,
        topic=topic,
        partition=partition,
        since_ms=here_ms(since),
        until_ms=here_ms(until),
        whose=whose,
        pseudonyms=pseudonyms,
    )


def _letters(stack: RunningStack, wanted: Wanted, *, only_open: bool = False) -> tuple[list[Letter], dict[str, Fate]]:
    """Those that are wanted, oldest first, and what became of each by its name."""
    found, fates = asyncio.run(all_letters(stack.cluster, stack.kek_dir))
    return [one for one in found if wanted.keeps(one) and (fates[one.name].is_open or not only_open)], fates


def _only(found: list[Letter], letter_id: str) -> Letter:
    # Of a topic that was made anew, the newest.
    one = next((one for one in reversed(found) if one.id == letter_id), None)
    if one is None:
        raise CommandError(f"no dead letter {letter_id}: 'oo dead-letters list' shows their ids")
    return one


def _read(stack: RunningStack, one: Letter) -> dict[str, Any]:
    """What it says as far as it can be read, and where that ends."""
    from deploy.decoded import decoded
    from deploy.keys import read_keys

    message = one.message
    headers = [(header.key, header.value) for header in message.original_headers]
    shorts = {topic.name: short for short, topic in stack.cluster.topics.items() if topic.public}
    short = shorts.get(message.topic) or dict(headers).get(SAID_ON, b"").decode(errors="replace")
    original = message.original
    if message.reason == "set-aside" and not short:
        try:
            said = said_by(message, cluster=stack.cluster, keys=asyncio.run(read_keys(stack.cluster, stack.kek_dir)))
        except CannotRedrive as error:
            return {"place": {"says": str(error)}}
        if said is not None:
            short, original = said[0], MessageToJson(said[1]).encode()
            headers = [("content-type", b"application/json")]
    if short not in stack.cluster.topics:
        return {}
    found = decoded(short, original, headers)
    read: dict[str, Any] = {"decoded": {"kind": found.kind, "message": found.message}}
    if found.fault is not None:
        read["place"] = {name: value for name, value in asdict(found.fault).items() if value not in (None, "")}
    elif message.reason in RULES and ": " in message.detail:
        path, _, says = message.detail.partition(": ")
        read["place"] = {"path": path, "says": says}
    return read


def _letter(one: Letter, fate: Fate) -> dict[str, Any]:
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
        **_fate(fate),
    }


def _fate(fate: Fate) -> dict[str, Any]:
    told: dict[str, Any] = {"state": fate.state}
    if fate.redrive is not None:
        word = fate.redrive.word
        place = f"{word.topic}/{word.place.partition}/{word.place.offset}" if word.is_sent else None
        told |= {"redriven_ms": fate.redrive.noted_ms, "sent_to": place, "edited": word.is_edited}
    if fate.became is not None:
        told["failed_again"] = fate.became.id
    if fate.first is not None:
        told["first_failure"] = fate.first.id
    return told


def _table(*columns: str) -> Table:
    """A first column of ids, which are to be copied whole."""
    table = Table()
    table.add_column("id", no_wrap=True)
    for column in columns:
        table.add_column(column)
    return table


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"

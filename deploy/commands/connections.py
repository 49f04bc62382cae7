"""`oo connect`, `oo connections` and `oo disconnect`: what a person connects, on the terminal, by way of the edge.

A secret is asked for and not shown as it is typed, or read from standard input; none stands on a command line, in a log or on the screen.
"""

from __future__ import annotations

import getpass
import json
import sys
import time
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, UserOption, open_state
from deploy.commands.tips import edge_for

POLL_S = 0.3
READ_WITHIN_S = 30.0

_out = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)


def connect(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Which: 'oo connect list' names them.")],
    user: UserOption,
    way: Annotated[
        str | None, typer.Option("--way", help="url, basic, token, file or hook, where there are several.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field that is no secret; may come again."),
    ] = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Connect a source: asks for what it needs. Where input is no terminal, secrets are its lines, in the order of the fields."""
    with edge_for(open_state(state, "edge_url", "token"), user) as edge:
        known = {one["name"]: one for one in _asked(edge.get("/v1/sources"))["sources"]}
        if source == "list":
            for one in known.values():
                ways = ", ".join(each["way"] for each in one["ways"]) or "not set up here"
                _out.print(f"{one['name']}: {one['title']} ({ways})")
            return
        chosen = _way(known, source, way)
        if chosen["authorize"]:
            _out.print(f"Open {edge.base_url.join(chosen['authorize'])} in the browser in which {user} is signed in.")
            return
        fields = _filled(chosen["fields"], given or [])
        body = {"source": source, "way": chosen["way"], "fields": fields}
        made = _asked(edge.post("/v1/connections", json=body))
        for name, secret in made["secrets"].items():
            _out.print(f"{name}, shown this once: {secret}")
        if made["hook"]:
            _out.print(f"It posts to {made['hook']}")
            return
        _out.print(_told(_until_read(edge, made)))


def connections(
    user: UserOption,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """What a person has connected, and how each fares."""
    with edge_for(open_state(state, "edge_url", "token"), user) as edge:
        found = _asked(edge.get("/v1/connections"))["connections"]
    if as_json:
        print(json.dumps({"connections": found}, ensure_ascii=False))
        return
    table = Table("id", "source", "state", "trouble", "read", "next")
    for one in found:
        table.add_row(
            one["connection_id"],
            one["title"],
            one["state"],
            one["trouble"],
            one["read_at"] or "not yet",
            one["next_at"] or "",
        )
    Console(highlight=False).print(table)


def disconnect(
    connection: Annotated[str, typer.Argument(metavar="ID", help="As 'oo connections' shows it.")],
    user: UserOption,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Take back what a connection told, and forget it with its secrets."""
    with edge_for(open_state(state, "edge_url", "token"), user) as edge:
        _asked(edge.delete(f"/v1/connections/{connection}"))
    _out.print("What it told is being taken back; then it is gone.")


def _way(known: dict[str, Any], source: str, way: str | None) -> dict[str, Any]:
    if source not in known:
        raise CommandError(f"there is no source {source}: there are {', '.join(known)}")
    ways = {one["way"]: one for one in known[source]["ways"]}
    if not ways:
        raise CommandError(f"this oO is not set up for {source}: docs/connections.md says what it needs")
    if way is not None and way not in ways:
        raise CommandError(f"{source} is connected by {', '.join(ways)}: name one of these with --way")
    found: dict[str, Any] = ways[way] if way else next(iter(ways.values()))
    return found


def _filled(fields: list[dict[str, Any]], given: list[str]) -> dict[str, str]:
    told = dict(one.partition("=")[::2] for one in given)
    by_name = {one["name"]: one for one in fields}
    for name in told:
        if name not in by_name:
            raise CommandError(f"there is no field {name}: there are {', '.join(by_name)}")
        if by_name[name]["secret"]:
            raise CommandError(f"{name} is a secret and belongs on no command line: leave it out, and it is asked for")
    for one in fields:
        if one["name"] not in told and (one["required"] or one["secret"]):
            told[one["name"]] = _typed(one)
    return {name: value for name, value in told.items() if value or by_name[name]["required"]}


def _typed(one: dict[str, Any]) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return getpass.getpass(f"{one['label']}: ") if one["secret"] else input(f"{one['label']}: ")


def _until_read(edge: httpx.Client, made: dict[str, Any]) -> dict[str, Any]:
    """As it stands once it was read, or something is wrong with it; after a time as it then stands."""
    deadline_s = time.monotonic() + READ_WITHIN_S
    while not (made["read_at"] or made["trouble"]) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
        made = _asked(edge.get(f"/v1/connections/{made['connection_id']}"))
    return made


def _told(one: dict[str, Any]) -> str:
    if one["trouble"]:
        return f"{one['title']} is connected as {one['connection_id']}, and cannot be read: {one['trouble']}"
    if not one["read_at"]:
        return (
            f"{one['title']} is connected as {one['connection_id']}; it was not read yet ('oo connections' shows when)"
        )
    read = sum(entry["number"] for entry in one.get("log", []) if entry["what"] == "read")
    return f"{one['title']} is connected as {one['connection_id']}: {read} signals"


def _asked(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        said = answer.json()
        errors = "; ".join(f"{one['pointer']} {one['detail']}" for one in said.get("errors", []))
        raise CommandError(errors or str(said["detail"]))
    except (ValueError, KeyError):
        raise CommandError(f"the edge answered {answer.status_code}") from None

"""`oo tip`, `oo react` and `oo token`: a person's client of the edge, on the terminal.

It never reads Kafka or Valkey: what it shows is what the edge answers, with a token of the local issuer.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.text import Text

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption, UserOption, open_state
from deploy.stack.running import RunningStack
from serving.issuer import LocalIssuer

CALL_TIMEOUT_S = 15.0
POLL_S = 0.2
NEXT_WITHIN_S = 5.0
"""How long `oo react` waits for the tip that follows."""
UNTIL_HELP = "For snooze: 30m, 2h, 3d, 18:00, tomorrow, or a time like 2026-12-01T09:00."

_out = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)


class Reaction(StrEnum):
    DONE = "done"
    SNOOZE = "snooze"
    DISMISS = "dismiss"


def tip(
    user: UserOption,
    as_json: JsonOption = False,
    wait: Annotated[float, typer.Option(metavar="S", help="Wait up to S seconds for a tip.", min=0)] = 0.0,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """The current tip, and why."""
    with edge_for(open_state(state, "edge_url", "token"), user) as edge:
        found = _await_tip(edge, within_s=wait)
        if found is None:
            if wait:
                raise CommandError(f"no tip within {wait:g} s: 'oo status' shows whether the workers keep up")
            _out.print(
                "null"
                if as_json
                else f"Nothing worth doing now. Give {user} tasks with 'oo import'; 'oo profile' shows their quiet hours."
            )
            return
        _show(edge, found, as_json=as_json)


def react(
    reaction: Annotated[Reaction, typer.Argument(help="What you do with it.")],
    user: UserOption,
    tip: Annotated[
        str | None, typer.Option("--tip", metavar="ID", help="A tip's decision_id; the current one.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help=UNTIL_HELP)] = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Say done, snooze or dismiss to the current tip, and see the next."""
    body: dict[str, Any] = {"reaction": reaction.value}
    if until is not None:
        if reaction is not Reaction.SNOOZE:
            raise typer.BadParameter("--until goes with snooze only")
        body["snooze_until"] = parse_until(until, now=datetime.now().astimezone()).isoformat()
    with edge_for(open_state(state, "edge_url", "token"), user) as edge:
        title = None
        if tip is None:
            current = _read(edge)
            if current is None:
                raise CommandError(f"there is no tip to react to: 'oo tip --user {user} --wait 10' waits for one")
            tip, title = current["decision_id"], current["title"]
        _feedback(edge, {**body, "decision_id": tip})
        _out.print(f"{_WORDS[reaction]}: {plain(title)}" if title else f"{_WORDS[reaction]}.")
        following = _await_tip(edge, within_s=NEXT_WITHIN_S, other_than=tip)
        if following is None:
            _out.print("Nothing worth doing now.")
            return
        _out.print("\nNext:")
        _show(edge, following, as_json=False)


def token(
    user: UserOption,
    role: Annotated[
        list[str], typer.Option("--role", help="Said of them in `roles`; the console asks for operator.")
    ] = [],  # noqa: B006
    state: StateOption = DEFAULT_STATE,
) -> None:
    """An access token of the local issuer, good for 12 hours: curl -H "Authorization: Bearer TOKEN"."""
    # Not through rich, which might fold it.
    print(_token(open_state(state, "token"), user, role))


_WORDS = {Reaction.DONE: "Done", Reaction.SNOOZE: "Snoozed", Reaction.DISMISS: "Dismissed"}


def parse_until(text: str, *, now: datetime) -> datetime:
    """A time in the words of UNTIL_HELP; raises typer.BadParameter. `now` carries the person's time zone.

    >>> from datetime import UTC
    >>> monday = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    >>> parse_until("90m", now=monday).isoformat(), parse_until("9:00", now=monday).isoformat()
    ('2026-11-23T16:30:00+00:00', '2026-11-24T09:00:00+00:00')
    """
    span = re.fullmatch(r"([0-9]{1,5})([mhd])", text)
    if span is not None:
        unit = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}[span[2]]
        return now + int(span[1]) * unit
    if text == "tomorrow":
        return (now + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
    clock = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", text)
    try:
        if clock is not None:
            time_of_day = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
            return time_of_day if time_of_day > now else time_of_day + timedelta(days=1)
        stated = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time. {UNTIL_HELP}") from None
    stated = stated if stated.tzinfo is not None else stated.replace(tzinfo=now.tzinfo)
    if stated <= now:
        raise typer.BadParameter(f"{text} has passed")
    return stated


def plain(text: str) -> str:
    """Text from outside without what would steer a terminal.

    >>> plain("Call\\x1b[31m Mum\\x9b0m\\n👩\\u200d🚀")
    'Call [31m Mum 0m 👩\u200d🚀'
    """
    return "".join(one if one.isprintable() or one == "\u200d" else " " for one in text)


@contextmanager
def edge_for(stack: RunningStack, user: str) -> Iterator[httpx.Client]:
    """A client of this stack's edge as this user; what fails becomes a CommandError."""
    headers = {"authorization": f"Bearer {_token(stack, user)}"}
    try:
        # Straight to loopback, whatever proxy the environment names.
        with httpx.Client(base_url=stack.edge_url, headers=headers, timeout=CALL_TIMEOUT_S, trust_env=False) as client:
            yield client
    except httpx.HTTPError as error:
        raise CommandError(
            f"the edge at {stack.edge_url} does not answer ({type(error).__name__}): 'oo status' shows what runs"
        ) from None


def _token(stack: RunningStack, user: str, roles: Sequence[str] = ()) -> str:
    if stack.token:
        return stack.token
    issuer = LocalIssuer.from_file(stack.signing_key_file, issuer=stack.issuer, audience=stack.audience)
    return issuer.mint(user, roles=roles)


def _read(edge: httpx.Client) -> dict[str, Any] | None:
    answer = edge.get("/v1/tip")
    if answer.status_code == httpx.codes.NO_CONTENT:
        return None
    found: dict[str, Any] = _checked(answer).json()
    return found


def _await_tip(edge: httpx.Client, *, within_s: float, other_than: str | None = None) -> dict[str, Any] | None:
    """The tip as soon as there is one; None after `within_s`."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = _read(edge)
        if found is not None and found["decision_id"] != other_than:
            return found
        if time.monotonic() >= deadline_s:
            return None
        time.sleep(POLL_S)


def _show(edge: httpx.Client, found: dict[str, Any], *, as_json: bool) -> None:
    """Print it, then say that it was seen: only then it was."""
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        _print(found)
    _feedback(edge, {"decision_id": found["decision_id"], "reaction": "seen"})


def _print(found: dict[str, Any]) -> None:
    _out.print()
    _out.print(Text(f"  {plain(found['title'])}", style="bold"))
    for line in found["detail"].splitlines():
        _out.print(f"  {plain(line)}")
    if found["url"]:
        _out.print(f"  {plain(found['url'])}")
    for reason in found["why"]:
        _out.print(Text(f"  · {plain(reason)}", style="dim"))
    if found["kind"] == "starter":
        _out.print("\n  To begin with. 'oo import todo.txt', or 'oo watch todo.txt', and tips are about what is yours.")
    until = datetime.fromisoformat(found["valid_until"]).astimezone()
    source = f"from {plain(found['source'])}, " if found["source"] else ""
    if found["kind"] == "generated":
        source = "written by a language model, "
    _out.print(Text(f"\n  {source}good until {until:%H:%M}", style="dim"))


def _feedback(edge: httpx.Client, body: dict[str, Any]) -> None:
    _checked(edge.post("/v1/feedback", json=body))


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = f"it answered {answer.status_code}"
    raise CommandError(f"the edge: {detail}")

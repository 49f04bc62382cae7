"""What every command shares: the state folder it is given, the stack that runs there, and how it fails.

It never prints and never ends the process: a command raises CommandError, and `oo` prints its one line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from deploy.machine_zone import known_zone
from deploy.stack.running import NotRunning, RunningStack, open_stack

DEFAULT_STATE = Path(".oo")


def _user(value: str) -> str:
    if not 1 <= len(value) <= 128 or not value.isprintable():
        raise typer.BadParameter("a user id has 1 to 128 printable characters")
    return value


def _zone(value: str | None) -> str | None:
    if value is not None and not known_zone(value):
        raise typer.BadParameter(f"{value!r} is no IANA time zone; write one like Europe/Berlin")
    return value


StateOption = Annotated[Path, typer.Option("--state", help="The folder that holds all state of the stack.")]
"""Write `state: StateOption = DEFAULT_STATE` in a command's signature."""
UserOption = Annotated[str, typer.Option("--user", "-u", help="Whose tips and tasks.", callback=_user)]
ZoneOption = Annotated[
    str | None,
    typer.Option("--time-zone", help="Where this person lives, such as Europe/Berlin.", callback=_zone),
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]

AsOption = Annotated[
    str,
    typer.Option("--as", metavar="ROLE", help="Sign in to Kafka as this role, to write what the operator may not."),
]
"""Where people sign in: RunningStack.as_named says which."""


class CommandError(Exception):
    """A command cannot do what it was asked; one line that says what is wrong and what to do. Exit status 1."""


def open_state(state_dir: Path = DEFAULT_STATE, *needed: str, ready: bool = True) -> RunningStack:
    """The stack that runs in this state folder, or the cluster that `OO_KAFKA_BOOTSTRAP` names where no folder is given.

    `needed`: settings without which the command cannot work there. Raises CommandError when one is missing, when none
    runs there, or while it starts or stops.
    """
    try:
        if state_dir == DEFAULT_STATE and "OO_KAFKA_BOOTSTRAP" in os.environ:
            from deploy.elsewhere import elsewhere

            return elsewhere(*needed)
        return open_stack(state_dir, ready=ready)
    except NotRunning as error:
        raise CommandError(str(error)) from None

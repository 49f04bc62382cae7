"""oo pseudonyms: moving a folder from before to pseudonyms. Nothing of ours may run meanwhile; the servers do."""

from __future__ import annotations

import asyncio

from rich.console import Console

from deploy.commands.session import DEFAULT_STATE, CommandError, StateOption
from deploy.commands.stack import down, fetch_servers, start_detached
from deploy.stack.fetch import default_cache
from deploy.stack.running import open_stack
from deploy.stack.state import StateFolder


def begin(state: StateOption = DEFAULT_STATE) -> None:
    """Give everybody of this folder a pseudonym: a new journal begins with each as they stand. Ended on its way, it goes on at the next call."""
    from deploy.moving import CannotMove, Move, finish

    folder, console = StateFolder(state.resolve()), Console(highlight=False, soft_wrap=True)
    before = folder.read()
    if before is None:
        raise CommandError(f"nothing was ever started in {state}")
    if folder.locked():
        raise CommandError(f"a stack runs in {state}: 'oo down' ends it")
    if folder.name_key_file.exists() and folder.name_key_file.stat().st_size and not folder.is_moving:
        raise CommandError(f"people in {state} have pseudonyms already")
    fetch_servers(default_cache())
    how = [f"--prefix={before['prefix']}", "--secure" if before.get("secure") else "--open", "--servers-only"]
    start_detached(folder, how, console)
    try:
        people = asyncio.run(Move(open_stack(folder.root), told=lambda step: console.print(f"done: {step}")).run())
    except CannotMove as error:
        raise CommandError(f"nothing was changed: {error}") from None
    finally:
        down(state)
    finish(folder)
    console.print(
        f"{people} people have pseudonyms; 'oo up' goes on. Back up {folder.name_key_file}: without it nobody is found again."
    )

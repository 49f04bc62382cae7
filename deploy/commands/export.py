"""oo export: everything that is known of one person, as files in a zip. It only reads, and notes that it does."""

from __future__ import annotations

import asyncio
import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from deploy.commands.session import DEFAULT_STATE, CommandError, StateOption, UserOption, open_state
from deploy.stack.running import RunningStack


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The zip to write; it must not be there yet.")],
    user: UserOption,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Everything that is known of one person, readable: JSON, todo.txt and a calendar in one zip."""
    from deploy.audit import note
    from serving.archive import NotReadable

    stack = open_state(state, "registry_url", "recommender_dsn", "kek_dir", "name_key_file", ready=False)
    if file.exists():
        raise CommandError(f"{file} is there already: name another file")
    asyncio.run(note(stack, "oo export", whose=stack.pseudonym(user).encode()))
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        size = asyncio.run(_write(stack, user, unfinished))
        unfinished.replace(file)
    except NotReadable as error:
        raise CommandError(f"{error}: 'oo status' shows what runs") from None
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    print(f"{file}: {size:,} bytes; README.txt in it says what is where. It holds everything about {user}: keep it so.")


async def _write(stack: RunningStack, user: str, path: Path) -> int:
    from serving.archive import archive
    from serving.exports import Kept, Order

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        # What the edge has: that of the state folder, or what its own settings say of a cluster elsewhere.
        told = stack.environment("edge") if stack.ports else os.environ
        kept = Kept(**{one.name: told.get(f"OO_{one.name.upper()}", "") for one in fields(Kept)})
        order = Order(user, stack.pseudonym(user), stack.cluster, stack.recommender_dsn, str(stack.kek_dir), kept)
        async for piece in archive(order):
            file.write(piece)
        return file.tell()

"""`oo import` and `oo watch`: files of tasks and calendars become signals.

It never reads a file itself: see deploy/imports.py and connectors/watch.py.
"""

from __future__ import annotations

import asyncio
import signal as signals
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from connectors.leaving import word_of
from connectors.source_file import Problem, file_name
from connectors.sources.file import parse_file
from connectors.sources.registry import FILES
from connectors.watch import NotDelivered, Report, Watch
from deploy.commands.erase import come_back
from deploy.commands.session import DEFAULT_STATE, CommandError, StateOption, UserOption, ZoneOption, open_state
from deploy.imports import (
    Connection,
    Imported,
    MemoryFile,
    PersonZone,
    forget,
    import_files,
    life_of,
    now_utc,
)
from deploy.machine_zone import machine_zone
from deploy.stack.running import RunningStack
from oo.v1.signal_pb2 import Signal
from streams.reader import topic_id
from streams.registry import RegistryError

PROBLEMS_SHOWN = 20
_WORDS = {
    "task_upserted": ("task", "tasks"),
    "task_completed": ("completed task", "completed tasks"),
    "task_removed": ("removed task", "removed tasks"),
    "calendar_event_upserted": ("event", "events"),
    "calendar_event_removed": ("cancelled event", "cancelled events"),
}

_out = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, markup=False)


def import_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="todo.txt and .ics files.")],
    user: UserOption,
    state: StateOption = DEFAULT_STATE,
    time_zone: ZoneOption = None,
    begin_again: Annotated[
        bool, typer.Option("--begin-again", help="For somebody who left: they begin a new life with this.")
    ] = False,
) -> None:
    """Read todo.txt and .ics files into signals. Doing it again sends only what has changed."""
    for result in asyncio.run(_import(files, user_id=user, state=state, time_zone=time_zone, begin_again=begin_again)):
        _out.print(f"{result.path.name}: {summary(result)}")
        print_problems(result.problems)


def watch_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A todo.txt or .ics file; it need not be there yet.")],
    user: UserOption,
    state: StateOption = DEFAULT_STATE,
    time_zone: ZoneOption = None,
) -> None:
    """Follow a file as its owner edits it, until Ctrl-C: what is ticked off there is completed here."""
    asyncio.run(_watch(file.absolute(), user_id=user, state=state, time_zone=time_zone))


async def _import(
    files: Sequence[Path], *, user_id: str, state: Path, time_zone: str | None, begin_again: bool
) -> list[Imported]:
    stack = open_state(state, "registry_url", "name_key_file")
    await _check_is_here(stack, user_id, begin_again=begin_again)
    zone = await PersonZone.of(time_zone, machine=machine_zone(), user_id=user_id, stack=stack)
    with _progress() as progress:
        task = progress.add_task("sending", total=None)
        results = await import_files(
            files,
            user_id=user_id,
            stack=stack,
            zone=zone,
            now=now_utc(),
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if not zone.name:
        _err.print("No time zone is known for this person; dates are read in UTC. Name it with --time-zone.")
    return results


async def _check_is_here(stack: RunningStack, user_id: str, *, begin_again: bool = False) -> None:
    """Raises CommandError for somebody who left, unless they begin again with this."""
    word = await word_of(stack.cluster, stack.pseudonym(user_id))
    if word is None or word.HasField("began_again"):
        return
    if not begin_again:
        forget(stack.sources, topic_id=await topic_id(stack.cluster, "signals"), user_id=user_id)
        raise CommandError(
            f"{user_id} has left: nothing of them is taken. oo import --begin-again begins a new life for them"
        )
    await come_back(stack, user_id, word)


async def _watch(path: Path, *, user_id: str, state: Path, time_zone: str | None) -> None:
    stack = open_state(state, "registry_url", "name_key_file")
    await _check_is_here(stack, user_id)
    zone = await PersonZone.of(time_zone, machine=machine_zone(), user_id=user_id, stack=stack)
    # Sends the time zone, if it is news.
    await import_files([], user_id=user_id, stack=stack, zone=zone, now=now_utc())
    life = await life_of(stack, user_id)
    memory_file = MemoryFile.of_file(path, stack=stack, life=life, user_id=user_id)

    async def send(found: Sequence[Signal]) -> None:
        try:
            # The stack may have been started anew meanwhile, on other ports.
            now = open_state(state, "registry_url", "name_key_file")
            if await life_of(now, user_id) != life:
                raise CommandError(f"{user_id} has left since this watch began: end it, and begin another")
            async with Connection(now) as connection:
                await connection.send(found, event_source=file_name(path.name))
        except (CommandError, RegistryError) as error:
            raise NotDelivered(str(error)) from error

    memory_file.begin_watch(path)
    follower = Watch(
        path=path,
        user_id=user_id,
        memory=memory_file.load(),
        parse=lambda snapshot, now: parse_file(FILES, snapshot, path=path, user_id=user_id, zone=zone.info, now=now),
        send=send,
        remember=memory_file.save,
        now=now_utc,
        held_elsewhere=memory_file.held_elsewhere,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signals.SIGINT, signals.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    _out.print(f"Following {path} for {user_id}. Ctrl-C ends it.")
    said: tuple[Problem, ...] = ()
    async for report in follower.follow(stop):
        _out.print(f"{datetime.now().astimezone():%H:%M:%S} {told(report)}")
        if report.parsed is not None and report.parsed.problems != said:
            said = report.parsed.problems
            print_problems(said)


def told(report: Report) -> str:
    """One look at a file in a line."""
    if report.trouble:
        return report.trouble
    sent = Counter[str](signal.WhichOneof("payload") or "" for signal in report.sent)
    said = f"sent {counted(sent)}" if sent else "nothing new"
    return f"{said}; {report.no_room} wait for room" if report.no_room else said


def summary(result: Imported) -> str:
    """What an import of one file came to, in a line.

    >>> summary(Imported(Path('todo.txt'), Counter(task_upserted=12, task_completed=1), 2, 0, 0, ()))
    '12 tasks, 1 completed task; 2 as before'
    """
    parts = [counted(result.sent) or "nothing new"]
    if result.unchanged:
        parts.append(f"{result.unchanged} as before")
    if result.waiting:
        parts.append(f"{result.waiting} not yet to be done (t: ahead, or h:1)")
    if result.no_room:
        parts.append(f"{result.no_room} wait for room: 'oo watch', or another import later, sends them")
    skipped = sum(problem.skipped for problem in result.problems)
    if skipped:
        parts.append(f"{skipped} skipped")
    return "; ".join(parts)


def counted(sent: Counter[str]) -> str:
    """Signals by kind, in words.

    >>> counted(Counter(calendar_event_upserted=30))
    '30 events'
    """
    return ", ".join(f"{sent[kind]} {words[sent[kind] != 1]}" for kind, words in _WORDS.items() if sent[kind])


def print_problems(problems: Sequence[Problem]) -> None:
    """The first of them, and how many more there are."""
    for problem in problems[:PROBLEMS_SHOWN]:
        _err.print(f"  {problem}")
    if len(problems) > PROBLEMS_SHOWN:
        _err.print(f"  and {len(problems) - PROBLEMS_SHOWN} more")


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=_err,
        transient=True,
        # In a file or a pipe there is nothing to move.
        disable=not _err.is_terminal,
    )

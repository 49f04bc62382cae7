"""oo logs: the lines that the parts of a local stack have written, in the order of time. It only reads, and changes no line."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import merge
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from deploy.commands.session import DEFAULT_STATE, CommandError, JsonOption, StateOption
from deploy.commands.since import SINCE_HELP, here_ms
from deploy.stack.state import StateFolder

LOOK_EVERY_S = 0.2
_STAMP = re.compile(r"(\d{4}-\d\d)(?:[+-]\d\d)??(-\d\d) (\d\d:\d\d:\d\d)(?:[.,](\d{3}))?( UTC)? ?")
"""The registry writes its zone in the middle of its day."""
_OF_VALKEY = re.compile(r"\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d)\.(\d{3}) ")


class Line(NamedTuple):
    """One line, with when it was written: as its part says, else as the line before it."""

    at_ms: int
    part: str
    text: str


def logs(
    part: Annotated[
        list[str] | None, typer.Option("--part", "-p", help="Only of this part, as core-0; again for more.")
    ] = None,
    since: Annotated[str | None, typer.Option(help=f"Only from then on: {SINCE_HELP}.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    state: StateOption = DEFAULT_STATE,
    as_json: JsonOption = False,
) -> None:
    """What the parts have written, in the order of time; no line holds a person's texts. It works while nothing runs, too.

    Kafka writes no times: its lines come first, and --since leaves them out.
    """
    folder = StateFolder(state.resolve()).logs
    there = sorted({path.name.removesuffix(".1").removesuffix(".log") for path in folder.glob("*.log*")})
    if not there:
        raise CommandError(
            f"{folder} holds no logs: name the folder of a stack with --state, or start one with `oo up`"
        )
    for name in part or ():
        if name not in there:
            raise CommandError(f"no part {name!r} has written; there are {', '.join(there)}")
    from_ms = here_ms(since) or 0
    files = {name: folder / f"{name}.log" for name in part or there}
    width = max(map(len, files))
    # Where each file ended before it was read: what comes meanwhile comes next.
    ends = {name: _end(path) for name, path in files.items()}
    for line in merge(*(_written(name, path) for name, path in files.items()), key=_when):
        if line.at_ms >= from_ms:
            _print(line, width=width, as_json=as_json)
    try:
        while follow:
            time.sleep(LOOK_EVERY_S)
            new = [one for name, path in files.items() for one in _grown(name, path, ends)]
            for line in sorted(new, key=_when):
                _print(line, width=width, as_json=as_json)
    except KeyboardInterrupt:
        return


def _when(line: Line) -> int:
    return line.at_ms


def lines(part: str, texts: Iterator[str]) -> Iterator[Line]:
    """Each line with its time; never earlier than the one before it, so that a traceback stays together.

    >>> [line.at_ms for line in lines("core-0", iter(["2026-11-28 22:09:57,748 INFO a", "  more", "2026-11-28 22:09:57.700 UTC b"]))]
    [1795903797748, 1795903797748, 1795903797748]
    """
    at_ms = 0
    for text in texts:
        at_ms = max(at_ms, _at_ms(text))
        yield Line(at_ms, part, text)


def _at_ms(text: str) -> int:
    try:
        if found := _STAMP.match(text):
            moment = datetime.fromisoformat(f"{found[1]}{found[2]}T{found[3]}")
            # Only PostgreSQL says its zone; the others write this machine's.
            moment = moment.replace(tzinfo=UTC) if found[5] else moment.astimezone()
            return int(moment.timestamp()) * 1000 + int(found[4] or 0)
        if found := _OF_VALKEY.match(text):
            moment = datetime.strptime(found[1], "%d %b %Y %H:%M:%S").astimezone()
            return int(moment.timestamp()) * 1000 + int(found[2])
    except ValueError:
        pass  # It only looks like a time.
    return 0


def _written(part: str, path: Path) -> Iterator[Line]:
    def texts() -> Iterator[str]:
        for one in (path.with_name(path.name + ".1"), path):
            if one.is_file():
                with one.open(encoding="utf-8", errors="replace") as file:
                    yield from (text.rstrip("\n") for text in file)

    return lines(part, texts())


def _end(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_size


def _grown(part: str, path: Path, ends: dict[str, tuple[int, int]]) -> Iterator[Line]:
    node, start = ends[part]
    now_node, size = _end(path)
    if (now_node, size) == (node, start) or not now_node:
        return
    texts = b""
    if now_node != node:
        # The file became `.1`: its last lines stand there.
        before = path.with_name(path.name + ".1")
        if _end(before)[0] == node:
            texts += _from(before, start)
        start = 0
    texts += _from(path, start)
    whole, newline, rest = texts.rpartition(b"\n")
    ends[part] = now_node, size - len(rest) if newline else start
    if newline:
        yield from lines(part, iter(whole.decode(errors="replace").split("\n")))


def _from(path: Path, start: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read()


def _print(line: Line, *, width: int, as_json: bool) -> None:
    if as_json:
        at = datetime.fromtimestamp(line.at_ms / 1000, UTC).isoformat(timespec="milliseconds") if line.at_ms else None
        print(json.dumps({"at": at, "part": line.part, "line": line.text}, ensure_ascii=False), flush=True)
    else:
        print(f"{line.part:<{width}}  {line.text}", flush=True)

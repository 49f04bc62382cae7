"""todo.txt files as a source; the format is connectors/todo_txt.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from connectors import todo_txt
from connectors.source_file import Parsed, UnreadableFile, file_name
from connectors.sources.file import BY_FILE, FileSource
from connectors.sources.source import Description, Kind
from connectors.watch import read_file

ARCHIVE: Final = "done.txt"
"""Where todo.txt programs move what is completed, in the file's own folder."""


class TodoTxt(FileSource):
    """One todo.txt, with the archive beside it."""

    description = Description(name="todo.txt", title="todo.txt", gives=(Kind.TASKS,), ways=BY_FILE, every_s=60)
    endings = (".txt", ".todo", "")

    def parse(
        self, data: bytes, *, path: Path, user_id: str, zone: ZoneInfo, now: datetime, modified: datetime
    ) -> Parsed:
        """Return every task, and what the archive says was completed."""
        name = file_name(path.name)
        parsed = todo_txt.parse(data, name=name, user_id=user_id, zone=zone, now=now, modified=modified)
        return replace(parsed, archived=_archived(path, zone=zone))


def _archived(path: Path, *, zone: ZoneInfo) -> dict[str, int]:
    """What the archive beside a todo.txt says was completed; nothing where there is none that can be read."""
    archive = path.with_name(ARCHIVE)
    if path.name == ARCHIVE:
        return {}
    try:
        return todo_txt.completions(read_file(archive).data, zone=zone)
    except (OSError, UnreadableFile):
        return {}

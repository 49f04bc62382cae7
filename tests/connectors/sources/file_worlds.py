"""Files on a disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from connectors.sources.ical import ICal
from connectors.sources.todo_txt import TodoTxt
from tests.connectors.sources.loopback import Loopback
from tests.connectors.sources.world import MONDAY_AT_EIGHT, Told, World, due

NO_SERVICE = "a file is on a disk: no service stands between, and it is read whole"


class FileWorld(World):
    file: ClassVar[str]
    not_said = dict.fromkeys(
        ("cursor-lost-there", "rate-limit", "token-refused", "token-revoked", "unreachable", "broken-page"), NO_SERVICE
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.service = Loopback()
        self.items: dict[str, str] = {}

    @property
    def path(self) -> Path:
        return self.folder / self.file

    def door(self) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {"path": self.file}, {}

    def text(self) -> str:
        raise NotImplementedError

    def line(self, name: str, title: str) -> str:
        raise NotImplementedError

    async def put(self, name: str, title: str) -> None:
        self.items[name] = self.line(name, title)
        self.path.write_text(self.text())

    async def put_many(self, number: int) -> None:
        self.items |= {f"n{i:05}": self.line(f"n{i:05}", f"item {i}") for i in range(number)}
        self.path.write_text(self.text())

    async def take(self, name: str) -> None:
        del self.items[name]
        self.path.write_text(self.text())

    async def vanish(self) -> None:
        self.path.unlink()


class TodoTxtWorld(FileWorld):
    name = "todo.txt"
    file = "todo.txt"
    not_said = FileWorld.not_said | {"recurring": "the format has no rules: tools write the next line"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source = TodoTxt()

    def text(self) -> str:
        return "\n".join([*self.items.values(), ""])

    def line(self, name: str, title: str) -> str:
        return f"{title} id:{name}"

    async def put_at_nine_in_new_york(self, title: str) -> None:
        await self.put("ny", f"{title} due:2026-11-30T09:00-05:00")

    async def put_odd(self) -> None:
        self.items["odd"] = "(A) due:2026-11-30"


class ICalWorld(FileWorld):
    name = "ical"
    file = "ann.ics"
    not_said = FileWorld.not_said | {"ten-thousand": "as webcal, by the same code"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.source = ICal()

    def text(self) -> str:
        return "\r\n".join(("BEGIN:VCALENDAR", "VERSION:2.0", *self.items.values(), "END:VCALENDAR", ""))

    def line(self, name: str, title: str, *lines: str) -> str:
        return "\r\n".join(("BEGIN:VTODO", f"UID:{name}", f"SUMMARY:{title}", *lines, "END:VTODO"))

    async def put_at_nine_in_new_york(self, title: str) -> None:
        self.items["ny"] = self.line("ny", title, "DUE;TZID=America/New_York:20261130T090000")
        self.path.write_text(self.text())

    async def put_weekly(self, title: str) -> None:
        self.items["w"] = self.line("w", title, "DUE;TZID=Europe/Berlin:20261130T080000", "RRULE:FREQ=WEEKLY")
        self.path.write_text(self.text())

    def says_weekly(self, told: Told, title: str) -> None:
        assert due(told.one(title)) == MONDAY_AT_EIGHT

    async def put_odd(self) -> None:
        self.items["odd"] = "\r\n".join(("BEGIN:VEVENT", "UID:odd", "DTSTART:in the evening", "END:VEVENT"))

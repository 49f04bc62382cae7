"""An iCalendar file cut into its components, each with its line number, so that a broken one does not spoil the rest.

It never interprets a property: names and raw lines only; reading them is the work of connectors/ical/reader.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from connectors.source_file import Problem, UnreadableFile

KEPT = ("VEVENT", "VTODO", "VTIMEZONE")
DEPTH_MAX = 8


@dataclass(slots=True)
class Piece:
    """One component directly under VCALENDAR: its lines as they stand, sub-components included."""

    name: str
    line: int
    lines: list[str]
    calendar: CalendarHead

    @property
    def text(self) -> str:
        """As the parser wants it."""
        return "\r\n".join(self.lines) + "\r\n"


@dataclass(slots=True)
class CalendarHead:
    """The properties of a VCALENDAR itself, by upper-case name, without parameters."""

    line: int
    properties: dict[str, str] = field(default_factory=dict)


def pieces(text: str) -> tuple[list[Piece], list[Problem]]:
    r"""Events, tasks and time zones of all calendars in a text, in order; what is cut short or nested wrongly is said.

    Raises UnreadableFile if the text holds no calendar.

    >>> found, problems = pieces('BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nEND:VEVENT\nEND:VCALENDAR\n')
    >>> found[0].name, found[0].line, problems
    ('VEVENT', 2, [])
    """
    found: list[Piece] = []
    problems: list[Problem] = []
    calendar: CalendarHead | None = None
    calendars = 0
    piece: Piece | None = None
    stack: list[str] = []
    for number, line in _lines(text):
        key, _, value = line.partition(":")
        key, value = key.strip().upper(), value.strip().upper()
        if key == "BEGIN":
            if value == "VCALENDAR":
                if piece:
                    problems.append(_cut_short(piece))
                    piece, stack = None, []
                calendar, calendars = CalendarHead(line=number), calendars + 1
                continue
            if calendar is None:
                continue
            if piece is None or value in KEPT:
                # A component of the top level inside another: the other lost its END.
                if piece:
                    problems.append(_cut_short(piece))
                piece, stack = Piece(name=value, line=number, lines=[], calendar=calendar), []
            stack.append(value)
            if len(stack) <= DEPTH_MAX:
                piece.lines.append(line)
            continue
        if calendar is None:
            continue
        if key == "END" and value == "VCALENDAR":
            if piece:
                problems.append(_cut_short(piece))
            piece, stack, calendar = None, [], None
            continue
        if piece is None:
            if not line.startswith((" ", "\t")):
                calendar.properties[key.partition(";")[0]] = line.partition(":")[2].strip()
            continue
        if key == "END":
            if not stack or stack[-1] != value:
                problems.append(Problem(number, f"END:{value} without its BEGIN; {piece.name} left out", skipped=True))
                piece, stack = None, []
                continue
            if len(stack) <= DEPTH_MAX:
                piece.lines.append(line)
            stack.pop()
            if not stack:
                if piece.name in KEPT:
                    found.append(piece)
                piece = None
            continue
        if len(stack) <= DEPTH_MAX:
            piece.lines.append(line)
    if not calendars:
        raise UnreadableFile("it is no iCalendar file (no BEGIN:VCALENDAR); export it again as .ics")
    if piece:
        problems.append(_cut_short(piece))
    elif calendar is not None:
        what = "the calendar has no END:VCALENDAR; the file may be cut off"
        problems.append(Problem(calendar.line, what, skipped=True, hides=True))
    return found, problems


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if line.strip():
            yield number, line


def _cut_short(piece: Piece) -> Problem:
    return Problem(piece.line, f"{piece.name} has no END:{piece.name}; left out", skipped=True, hides=True)

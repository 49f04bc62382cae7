"""An iCalendar file cut into its components, each with its line number, so that a broken one does not spoil the rest.

It never interprets a property: names and unfolded lines only; reading them is the work of
connectors/ical/component.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from connectors.source_file import Problem, UnreadableFile

KEPT = ("VEVENT", "VTODO", "VTIMEZONE")
DEPTH_MAX = 8
_FOLD_IN_CHARACTER = re.compile(rb"(?<=[\x80-\xff])(\r?\n[ \t])([\x80-\xbf]+)")


@dataclass(slots=True)
class Piece:
    """One component directly under VCALENDAR: its own unfolded lines by number; of a time zone also those inside it.

    Alarms and what else stands inside events and tasks is left out: nothing needs it.
    """

    name: str
    line: int
    lines: list[tuple[int, str]]
    calendar: CalendarHead


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
            if len(stack) > 1 and _holds(piece, stack):
                piece.lines.append((number, line))
            continue
        if calendar is None:
            continue
        if key == "END" and value == "VCALENDAR":
            if piece:
                problems.append(_cut_short(piece))
            piece, stack, calendar = None, [], None
            continue
        if piece is None:
            calendar.properties[key.partition(";")[0]] = line.partition(":")[2].strip()
            continue
        if key == "END":
            # An alarm that lost its END ends with what holds it; an END of nothing is passed over.
            while value in stack:
                if len(stack) > 1 and _holds(piece, stack):
                    piece.lines.append((number, f"END:{stack[-1]}"))
                if stack.pop() == value:
                    break
            if not stack:
                if piece.name in KEPT:
                    found.append(piece)
                piece = None
            continue
        if _holds(piece, stack):
            piece.lines.append((number, line))
    if not calendars:
        raise UnreadableFile("it is no iCalendar file (no BEGIN:VCALENDAR); export it again as .ics")
    if piece:
        problems.append(_cut_short(piece))
    elif calendar is not None:
        what = "the calendar has no END:VCALENDAR; the file may be cut off"
        problems.append(Problem(calendar.line, what, skipped=True, hides=True))
    return found, problems


def whole_characters(data: bytes) -> bytes:
    """Return the file with folds that part a UTF-8 character moved behind it: lines are unfolded before they are
    decoded.

    >>> whole_characters('Zoë'.encode().replace(b'\\xab', b'\\r\\n \\xab')).decode()
    'Zoë\\r\\n '
    """
    for _ in range(3):
        data = _FOLD_IN_CHARACTER.sub(rb"\2\1", data)
    return data


def _holds(piece: Piece, stack: list[str]) -> bool:
    return len(stack) <= (DEPTH_MAX if piece.name == "VTIMEZONE" else 1)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Unfolded lines, each with the number of the first that it was made of; empty ones are left out."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if line[:1] in (" ", "\t") and parts and not parts[0].upper().startswith(("BEGIN:", "END:")):
            parts.append(line[1:])
        elif line.strip():
            if parts:
                yield begun, "".join(parts)
            begun, parts = number, [line]
    if parts:
        yield begun, "".join(parts)


def _cut_short(piece: Piece) -> Problem:
    return Problem(piece.line, f"{piece.name} has no END:{piece.name}; left out", skipped=True, hides=True)

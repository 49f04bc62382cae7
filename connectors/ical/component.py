"""One event or task of a file, read: its values, the zones of its times, and what of it could not be read.

It reads what something needs, and nothing else: no other line, however broken, costs the event or task anything.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Component, Timezone
from icalendar.prop import vDDDLists, vDDDTypes
from icalendar.timezone import tzp

from connectors.ical.pieces import Piece
from connectors.ical.value import Length, first, named_zone, text_of, zone_of
from connectors.source_file import Problem, cut, one_line

_MOMENTS = ("DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "DTSTAMP", "LAST-MODIFIED")
_LISTS = ("EXDATE", "RDATE")
_TEXTS = (
    *("UID", "SUMMARY", "DESCRIPTION", "STATUS", "TRANSP", "PRIORITY", "PERCENT-COMPLETE", "COMPLETED", "SEQUENCE"),
    *("CATEGORIES", "URL", "ESTIMATED-DURATION", "X-MICROSOFT-CDO-BUSYSTATUS", "X-MICROSOFT-CDO-ALLDAYEVENT"),
)
_RAW = ("RRULE", "DURATION", "ATTENDEE")
"""Taken as they stand: the library loses what is asked of them, or refuses the whole for a part."""
_AS_TEXT = ("PRIORITY", "PERCENT-COMPLETE", "COMPLETED", "SEQUENCE")
"""A value of any kind that is not read is no fault."""
_PROPERTY = re.compile(r"([A-Za-z0-9-]+)((?:;(?:\"[^\"]*\"|[^\":])*)?):(.*)", re.DOTALL)
_MOMENT = re.compile(r"([A-Za-z0-9-]+)((?:;.*)?):([^:]*)", re.DOTALL)
"""No moment holds a colon: a zone's name before it may ("tzone://Microsoft/Utc")."""
_ZONE = re.compile(r';TZID=("[^"]*"|[^;]*)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Read:
    """A component that could be parsed, and where it stands."""

    component: Component
    piece: Piece
    zone: tzinfo
    """Of floating times: the calendar's (X-WR-TIMEZONE), else the person's."""
    declared: bool
    """Whether the calendar names it."""
    home: ZoneInfo
    """Where the person lives: days have no other zone."""
    cancelled: bool
    rules: tuple[str, ...]
    lasts: Length | None
    """DURATION."""
    attendees: tuple[str, ...]
    """Whole lines."""

    @property
    def uid(self) -> str:
        """The UID; without one, which the format forbids but exporters do, what makes the component this one."""
        uid = text_of(self.component, "UID").strip()
        return uid or f"no-uid:{text_of(self.component, 'SUMMARY')}:{first(self.component, 'DTSTART')}"

    @property
    def revision(self) -> tuple[int, float]:
        """What is greater in the later of two versions: SEQUENCE, then DTSTAMP (RFC 5546, 2.1.5)."""
        sequence = text_of(self.component, "SEQUENCE").strip()
        stamp = first(self.component, "DTSTAMP")
        return (
            int(sequence) if sequence.isascii() and sequence.isdigit() and len(sequence) < 10 else 0,
            stamp.timestamp() if isinstance(stamp, datetime) and stamp.tzinfo and stamp.year > 1 else 0.0,
        )

    @property
    def all_day_mark(self) -> bool:
        """Outlook's, who writes holidays as two midnights and TRANSP:OPAQUE with each."""
        return text_of(self.component, "X-MICROSOFT-CDO-ALLDAYEVENT").upper() == "TRUE"


def read(
    found: Sequence[Piece], *, home: ZoneInfo, problems: list[Problem], unread: set[tuple[str, str]]
) -> list[Read]:
    """Events and tasks in the file's order. A calendar's own VTIMEZONEs count before them wherever they stand.

    `unread` gets the names and UIDs of what is there and could not be read.
    """
    # The library keeps the zones that files define under their names for the whole process: begin with none.
    tzp.use_zoneinfo()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for piece in found:
            if piece.name == "VTIMEZONE":
                _define_zone(piece, problems=problems)
        zones_unknown: set[str] = set()
        items = []
        for piece in found:
            if piece.name != "VTIMEZONE":
                item = _item(piece, home=home, problems=problems, zones_unknown=zones_unknown)
                needed = ("DTSTART", "RECURRENCE-ID") if piece.name == "VEVENT" else ("RECURRENCE-ID",)
                broken = [name for name in needed if name in item.component and first(item.component, name) is None]
                if broken:
                    problems.append(
                        Problem(piece.line, f"{piece.name} has a broken {broken[0]}; left out", skipped=True)
                    )
                    unread.add((piece.name, item.uid))
                    continue
                items.append(item)
        return items


def _define_zone(piece: Piece, *, problems: list[Problem]) -> None:
    text = "\r\n".join(["BEGIN:VTIMEZONE", *(line for _, line in piece.lines), "END:VTIMEZONE", ""])
    try:
        zone = Component.from_ical(text)
        # The library leaves that to the calendar that holds it.
        if isinstance(zone, Timezone):
            tzp.cache_timezone_component(zone)
    except Exception as error:  # noqa: BLE001 - the library's parsers raise whatever Python raises on odd values
        what = f"VTIMEZONE cannot be read ({cut(one_line(str(error)), 100)}); passed over"
        problems.append(Problem(piece.line, what))


def _item(piece: Piece, *, home: ZoneInfo, problems: list[Problem], zones_unknown: set[str]) -> Read:
    raw: dict[str, list[str]] = {name: [] for name in _RAW}
    lines: list[tuple[int, str, str]] = []
    noise: list[int] = []
    for number, line in piece.lines:
        match = _PROPERTY.fullmatch(line)
        name = line[: re.match(r"[A-Za-z0-9-]*", line).end()].upper()  # type: ignore[union-attr]
        if name in _MOMENTS + _LISTS and (moment := _MOMENT.fullmatch(line)):
            lines += [(number, name, said) for said in _moments(name, moment)]
        elif match is None:
            noise.append(number)
        elif name == "ATTENDEE":
            raw[name].append(line)
        elif name in raw:
            raw[name].append(match[3].strip())
        elif name in _AS_TEXT:
            lines.append((number, name, f"{name};VALUE=TEXT:{match[3].strip()}"))
        elif name in _TEXTS:
            lines.append((number, name, line))
    if noise:
        what = f"{'a line that is' if len(noise) == 1 else f'{len(noise)} lines that are'} no property; passed over"
        problems.append(Problem(noise[0], what))
    component = _component(piece.name, lines, problems=problems)
    lasts = Length.parse(raw["DURATION"][0]) if raw["DURATION"] else None
    if raw["DURATION"] and lasts is None:
        problems.append(Problem(piece.line, f"{piece.name} has a broken DURATION; taken without it"))
    declared = named_zone(piece.calendar.properties.get("X-WR-TIMEZONE", ""))
    for unknown in _settle_zones(component) - zones_unknown:
        zones_unknown.add(unknown)
        what = f"the time zone {cut(one_line(unknown), 60)!r} is not known; read in {(declared or home).key}"
        problems.append(Problem(piece.line, what))
    return Read(
        component=component,
        piece=piece,
        zone=declared or home,
        declared=declared is not None,
        home=home,
        cancelled=text_of(component, "STATUS").upper() == "CANCELLED"
        or piece.calendar.properties.get("METHOD", "").upper() == "CANCEL",
        rules=tuple(raw["RRULE"]),
        lasts=lasts,
        attendees=tuple(raw["ATTENDEE"]),
    )


def _moments(name: str, match: re.Match[str]) -> list[str]:
    """Return the property written so that the library reads it; one line for each value of a list."""
    head = name + _ZONE.sub(lambda zone: f';TZID="{zone[1].strip(chr(34)).strip()}"', match[2])
    values = "".join(match[3].split()).upper()
    return [f"{head}:{value}" for value in (values.split(",") if name in _LISTS else [values])]


def _component(name: str, lines: Iterable[tuple[int, str, str]], *, problems: list[Problem]) -> Component:
    """Return what of the lines can be read; what cannot is said, and there without a value if it is a moment."""
    lines = list(lines)
    try:
        component = _parsed([line for _, _, line in lines])
    except ValueError:
        good = []
        for number, of, line in lines:
            try:
                _parsed([line])
                good.append((number, of, line))
            except ValueError:
                problems.append(Problem(number, f"{name} has a broken {of}; taken without it"))
        component = _parsed([line for _, _, line in good])
        lines = good
    for broken in sorted({of for of, _ in component.errors if of}):
        # What cannot be without it is left out, and says so itself.
        if broken not in ("RECURRENCE-ID", "DTSTART") or (broken, name) == ("DTSTART", "VTODO"):
            number = next(number for number, of, _ in lines if of == broken)
            problems.append(Problem(number, f"{name} has a broken {broken}; taken without it"))
    return component


def _parsed(lines: Sequence[str]) -> Component:
    """Raise ValueError where a line is no property to the library, which forgives an odd value in events alone."""
    try:
        component = Component.from_ical("\r\n".join(["BEGIN:VEVENT", *lines, "END:VEVENT", ""]))
    except Exception as error:
        raise ValueError(str(error)) from error
    assert isinstance(component, Component)
    if any(of is None for of, _ in component.errors):
        raise ValueError("a line that cannot be read")
    return component


def _settle_zones(component: Component) -> set[str]:
    """Give every moment its zone, make days of midnights that are called days, and return the names that mean nothing."""
    unknown: set[str] = set()
    called_days = []
    for value, entry in _entries(component):
        zone_name = str(value.params.get("TZID", ""))
        if isinstance(entry.dt, datetime) and str(value.params.get("VALUE", "")).upper() == "DATE":
            called_days.append(entry)
        if isinstance(entry.dt, datetime) and entry.dt.tzinfo is None and zone_name:
            zone = zone_of(zone_name)
            if zone is None:
                unknown.add(zone_name)
            else:
                entry.dt = entry.dt.replace(tzinfo=zone)
    # Where one of them says what o'clock it is, that is the person's word and "day" the exporter's.
    if all(entry.dt.time() == time() for entry in called_days):
        for entry in called_days:
            entry.dt = entry.dt.date()
    return unknown


def _entries(component: Component) -> Iterator[tuple[Any, Any]]:
    """Yield every moment of the component that can be read, beside the property that it stands in."""
    for name in (*_MOMENTS, *_LISTS):
        values = component.get(name, [])
        for value in values if isinstance(values, list) else [values]:
            for entry in value.dts if isinstance(value, vDDDLists) else [value]:
                if isinstance(entry, vDDDTypes):
                    yield value, entry

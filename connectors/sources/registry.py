"""Which sources there are: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from connectors.sources.caldav import CalDav
from connectors.sources.feed import Feed
from connectors.sources.file import FileSource
from connectors.sources.github import GitHub
from connectors.sources.google_calendar import GoogleCalendar
from connectors.sources.hook import Hook
from connectors.sources.ical import ICal
from connectors.sources.source import Source
from connectors.sources.todo_txt import TodoTxt
from connectors.sources.todoist import Todoist
from connectors.sources.webcal import WebCal

SOURCES: Final[tuple[Source, ...]] = (
    TodoTxt(),
    ICal(),
    WebCal(),
    CalDav(),
    Todoist(),
    GoogleCalendar(),
    GitHub(),
    Feed(),
    Hook(),
)

BY_NAME: Final[Mapping[str, Source]] = {one.description.name: one for one in SOURCES}
_MAY_BE_ELSEWHERE: Final[Mapping[str, Callable[[str], Source]]] = {
    one.description.name: one for one in (Todoist, GoogleCalendar, GitHub)
}
FILES: Final[tuple[FileSource, ...]] = tuple(one for one in SOURCES if isinstance(one, FileSource))


def asked_at(apis: Mapping[str, str]) -> dict[str, Source]:
    """All of them; those of services that sign in, at these addresses of their APIs."""
    return {**BY_NAME, **{name: _MAY_BE_ELSEWHERE[name](url) for name, url in apis.items()}}

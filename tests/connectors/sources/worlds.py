"""The services of all sources: one class each, and the list that the suite runs through."""

from __future__ import annotations

from tests.connectors.sources.caldav_world import CalDavWorld
from tests.connectors.sources.feed_world import FeedWorld
from tests.connectors.sources.file_worlds import ICalWorld, TodoTxtWorld
from tests.connectors.sources.github_world import GitHubWorld
from tests.connectors.sources.google_world import GoogleWorld
from tests.connectors.sources.hook_world import HookWorld
from tests.connectors.sources.todoist_world import TodoistWorld
from tests.connectors.sources.webcal_world import WebCalWorld
from tests.connectors.sources.world import World

WORLDS: tuple[type[World], ...] = (
    TodoTxtWorld,
    ICalWorld,
    WebCalWorld,
    CalDavWorld,
    TodoistWorld,
    GoogleWorld,
    GitHubWorld,
    FeedWorld,
    HookWorld,
)

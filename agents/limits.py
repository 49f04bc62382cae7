"""What of a row may not be used now because the person has withdrawn it, and the tasks and events that are left.

What rests on which purpose is tables.purposes' word. It never changes a row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from agents.features import PLACE
from oo.v1 import row_pb2
from tables import backlog, consents
from tables.backlog import Backlog
from tables.bounds import NEVER_MS
from tables.linear import Ints
from tables.purposes import CALENDAR, GENERATED, PURPOSES, TASKS

HIDDEN = 4
"""Beside Task.QuietReason, in columns that are only looked at: the person has withdrawn the task's source."""


class Limits(NamedTuple):
    """What may not be used."""

    any: bool = False
    """Something was said at all."""
    kinds: frozenset[int] = frozenset()
    """Kinds of tips."""
    features: int = 0
    """By their places in a vector, as bits."""
    tasks: bool = False
    """No task."""
    calendar: bool = False
    """No event."""
    generated: bool = False
    sources: frozenset[str] = frozenset()
    """No task and no event of these."""

    def tasks_of(self, source: str) -> bool:
        """Whether that source's tasks may be used."""
        return not self.tasks and source not in self.sources

    def events_of(self, source: str) -> bool:
        """Whether that source's events may be used."""
        return not self.calendar and source not in self.sources

    def adds_to(self, before: Limits) -> bool:
        """Whether something may not be used that then could be.

        >>> Limits(calendar=True).adds_to(NONE), NONE.adds_to(Limits(calendar=True))
        (True, False)
        """
        flags = zip(
            (self.tasks, self.calendar, self.generated), (before.tasks, before.calendar, before.generated), strict=True
        )
        return any(now and not then for now, then in flags) or not (
            self.kinds <= before.kinds and self.sources <= before.sources
        )


NONE = Limits()


def of(row: row_pb2.UserRow) -> Limits:
    """Read them from a row.

    >>> row = row_pb2.UserRow()
    >>> row.consents.add(purpose=CALENDAR, granted=False).purpose == CALENDAR, of(row).calendar, of(row).tasks
    (True, True, False)
    """
    if not row.consents:
        return NONE
    gone = [one for one in PURPOSES if not consents.grants(row.consents, one.number)]
    numbers = {one.number for one in gone}
    return Limits(
        any=True,
        kinds=frozenset(kind for one in gone for kind in one.kinds),
        features=sum({1 << PLACE[name] for one in gone for name in one.features}),
        tasks=TASKS in numbers,
        calendar=CALENDAR in numbers,
        generated=GENERATED in numbers,
        sources=consents.withdrawn_sources(row.consents),
    )


def usable(items: Backlog, limits: Limits) -> Backlog:
    """The tasks and events as a decision may see them; not to be changed, nor to be put back into a row.

    Of a task that is hidden nothing is left but who it is, and an event that is hidden keeps nobody busy.
    """
    if not limits.tasks and not limits.calendar and not limits.sources:
        return items
    return replace(items, tasks=_tasks(items, limits), events=_events(items, limits))


def _tasks(items: Backlog, limits: Limits) -> Ints:
    hidden = np.isin(
        items.tasks[backlog.SOURCE], [n for n, one in enumerate(items.sources) if not limits.tasks_of(one)]
    )
    seen = items.tasks.copy()
    for which in _ABOUT_A_TASK:
        seen[which, hidden] = 0
    seen[backlog.QUIET_UNTIL, hidden], seen[backlog.QUIET_REASON, hidden] = NEVER_MS, HIDDEN
    return seen


def _events(items: Backlog, limits: Limits) -> Ints:
    places = [n for n, one in enumerate(items.sources) if not limits.events_of(one)]
    seen = items.events.copy()
    seen[backlog.BUSY, np.isin(seen[backlog.EVENT_SOURCE], places)] = 0
    return seen


_ABOUT_A_TASK = (
    *(backlog.TITLE, backlog.PRIORITY, backlog.DUE, backlog.MINUTES, backlog.LABELS, backlog.CREATED, backlog.UPDATED),
    *(backlog.SHOWN, backlog.DISMISSED, backlog.SNOOZED),
)

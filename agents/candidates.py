"""What could be said now: the person's tasks, tips from a language model, starter tips, and saying nothing.

It only proposes. Whether a candidate may be chosen is `eligibility`'s word, how good it is the policy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from oo.v1 import decision_pb2, row_pb2
from streams.units import HOUR_MS, MINUTE_MS
from tables import backlog

TASKS_MAX = 40
"""Tasks on one slate; past it those that rank lowest are left out."""
GENERATED_MAX = 16
TITLE_CHARS_MAX = 500
DETAIL_CHARS_MAX = 280
GENERATED_KEPT_MS = HOUR_MS
"""How long a tip that a language model wrote stays in the row after its end: until then the slate says that it ran out."""
ID_CHARS_MAX = 256
"""Of a tip that a language model wrote: longer texts are cut, one with a longer id is left out."""

NONE_ID = "none"

GAP_MS_MAX = 4 * 60 * MINUTE_MS
"""An event further away than this does not bound the free time before it."""
STARTER_GAP_MS_MAX = 120 * MINUTE_MS
"""How near the next event must be for a starter tip about it."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """The person's calendar around now."""

    busy_until_ms: int
    """End of the busy event that runs now; 0 when free."""
    next_title: str
    next_start_ms: int
    """Start of the next busy event; `backlog.NEVER_MS` for none."""

    def free_ms(self, now_ms: int) -> int:
        """Free time from now on, at most four hours; 0 while busy."""
        return 0 if self.busy_until_ms else min(self.next_start_ms - now_ms, GAP_MS_MAX)


class Proposal(NamedTuple):
    """One candidate with what a tip would show; of a task that stands in the task itself.

    A tuple, not a dataclass: one is made per candidate, and this costs a third.
    """

    id: str
    kind: decision_pb2.Decision.TipKind.ValueType
    task: row_pb2.Task | None = None
    title: str = ""
    detail: str = ""
    until_ms: int = backlog.NEVER_MS
    """When what it says stops being so."""
    prompt_version: str = ""
    model: str = ""


NOTHING = Proposal(NONE_ID, decision_pb2.Decision.NONE)


def task_id(source: str, external_id: str) -> str:
    """The candidate id of a task.

    >>> task_id("todo.txt", "a1")
    'task:todo.txt/a1'
    """
    return f"task:{source}/{external_id}"


def generated_id(external_id: str) -> str:
    """The candidate id of a tip that a language model wrote.

    >>> generated_id("r1-0")
    'generated:r1-0'
    """
    return f"generated:{external_id}"


def calendar_at(row: row_pb2.UserRow, *, now_ms: int) -> Calendar:
    """The calendar around now; events of no time at all and events that leave one free do not count."""
    busy_until_ms, next_title, next_start_ms = 0, "", backlog.NEVER_MS
    for event in row.events:
        if not event.busy or event.end_ms <= now_ms:
            continue
        if event.start_ms <= now_ms:
            busy_until_ms = max(busy_until_ms, event.end_ms)
        elif event.start_ms < next_start_ms:
            next_title, next_start_ms = event.title, event.start_ms
    return Calendar(busy_until_ms=busy_until_ms, next_title=next_title, next_start_ms=next_start_ms)


def propose(row: row_pb2.UserRow, *, calendar: Calendar, now_ms: int) -> list[Proposal]:
    """The slate before eligibility, sorted by candidate id so that it is the same everywhere."""
    tasks = row.tasks if len(row.tasks) <= TASKS_MAX else _first_tasks(row, now_ms=now_ms)
    slate = [Proposal(task_id(task.source, task.external_id), decision_pb2.Decision.TASK, task) for task in tasks]
    for tip in row.generated[:GENERATED_MAX]:
        slate.append(
            Proposal(
                id=generated_id(tip.external_id),
                kind=decision_pb2.Decision.GENERATED,
                title=tip.title,
                detail=tip.detail,
                until_ms=tip.expires_ms,
                prompt_version=tip.prompt_version,
                model=tip.model,
            )
        )
    slate += _STARTERS
    if calendar.busy_until_ms == 0 and calendar.next_start_ms - now_ms <= STARTER_GAP_MS_MAX:
        slate.append(_before_next(calendar, now_ms=now_ms))
    slate.append(NOTHING)
    slate.sort(key=attrgetter("id"))
    return slate


def _first_tasks(row: row_pb2.UserRow, *, now_ms: int) -> list[row_pb2.Task]:
    """The 40 that rank highest, those that are quiet now after all others."""
    ranked = sorted(row.tasks, key=backlog.rank)
    return sorted(ranked, key=lambda task: task.quiet_until_ms > now_ms)[:TASKS_MAX]


def _starter(name: str, title: str, detail: str, *, until_ms: int = backlog.NEVER_MS) -> Proposal:
    return Proposal(f"starter:{name}", decision_pb2.Decision.STARTER, title=title, detail=detail, until_ms=until_ms)


_STARTERS = (
    _starter("plan", "Write down the one thing you want done today", "One line is enough: oO takes it from there."),
    _starter("pause", "Stand up and rest your eyes for five minutes", "Look at something far away."),
    _starter("tidy", "Clear one small thing that has been waiting", "A mail, a cup, a message: two minutes, not more."),
)
"""Tips for someone with nothing to choose from yet."""


def _before_next(calendar: Calendar, *, now_ms: int) -> Proposal:
    """A tip for the free time before the next event; it is over when that starts."""
    minutes = (calendar.next_start_ms - now_ms) // MINUTE_MS
    if minutes <= 30:
        name, title = "prepare", f"Take two minutes to get ready for {calendar.next_title}"
        detail = f"It starts in {minutes} minutes."
    else:
        name, title = "gap", f"Start something small before {calendar.next_title}"
        detail = f"You have {minutes} free minutes."
    return _starter(name, title, detail, until_ms=calendar.next_start_ms)

"""What could be said now: the person's tasks, tips from a language model, starter tips, and saying nothing.

It only proposes. Whether a candidate may be chosen is `eligibility`'s word, how good it is the policy's.
"""

from __future__ import annotations

from dataclasses import dataclass

from oo.v1 import decision_pb2, row_pb2
from tables import backlog

TASKS_MAX = 40
"""Tasks on one slate; past it those that rank lowest are left out, and the decision says how many."""
GENERATED_MAX = 16
TITLE_CHARS_MAX = 500
DETAIL_CHARS_MAX = 280
ID_CHARS_MAX = 256
"""Of a tip that a language model wrote: longer texts are cut, one with a longer id is left out."""

NONE_ID = "none"

MINUTE_MS = 60 * 1000
GAP_MS_MAX = 4 * 60 * MINUTE_MS
"""An event further away than this does not bound the free time before it."""


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


@dataclass(frozen=True, slots=True)
class Proposal:
    """One candidate with what a tip would show."""

    id: str
    kind: decision_pb2.Decision.TipKind.ValueType
    title: str = ""
    detail: str = ""
    source: str = ""
    url: str = ""
    task: row_pb2.Task | None = None
    until_ms: int = backlog.NEVER_MS
    """When what it says stops being so."""
    prompt_version: str = ""
    model: str = ""


NOTHING = Proposal(id=NONE_ID, kind=decision_pb2.Decision.NONE)


def task_id(source: str, external_id: str) -> str:
    """The candidate id of a task.

    >>> task_id("todo.txt", "a1")
    'task:todo.txt/a1'
    """
    return f"task:{source}/{external_id}"


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
    quiet_last = sorted(row.tasks, key=lambda task: (task.quiet_until_ms > now_ms, *backlog.rank(task)))
    slate = [_from_task(task) for task in quiet_last[:TASKS_MAX]]
    for tip in row.generated[:GENERATED_MAX]:
        if tip.expires_ms > now_ms:
            slate.append(
                Proposal(
                    id=f"generated:{tip.external_id}",
                    kind=decision_pb2.Decision.GENERATED,
                    title=tip.title,
                    detail=tip.detail,
                    source="oo",
                    until_ms=tip.expires_ms,
                )
            )
    slate.extend(_starters(calendar, now_ms=now_ms))
    return sorted([*slate, NOTHING], key=lambda proposal: proposal.id)


def _from_task(task: row_pb2.Task) -> Proposal:
    return Proposal(
        id=task_id(task.source, task.external_id),
        kind=decision_pb2.Decision.TASK,
        title=task.title,
        detail=task.notes,
        source=task.source,
        url=task.url,
        task=task,
    )


def _starters(calendar: Calendar, *, now_ms: int) -> list[Proposal]:
    """Tips for someone with nothing to choose from yet; the calendar decides which make sense."""
    tips = {
        "plan": ("Write down the one thing you want done today", "One line is enough: oO takes it from there."),
        "pause": ("Stand up and rest your eyes for five minutes", "Look at something far away."),
        "tidy": ("Clear one small thing that has been waiting", "A mail, a cup, a message: two minutes, not more."),
    }
    gap_ms = calendar.next_start_ms - now_ms
    if calendar.busy_until_ms == 0 and gap_ms <= 120 * MINUTE_MS:
        minutes = gap_ms // MINUTE_MS
        if minutes <= 30:
            tips["prepare"] = (
                f"Take two minutes to get ready for {calendar.next_title}",
                f"It starts in {minutes} minutes.",
            )
        else:
            tips["gap"] = (
                f"Start something small before {calendar.next_title}",
                f"You have {minutes} free minutes.",
            )
    return [
        Proposal(
            id=f"starter:{name}",
            kind=decision_pb2.Decision.STARTER,
            title=title,
            detail=detail,
            source="oo",
            until_ms=calendar.next_start_ms if name in ("prepare", "gap") else backlog.NEVER_MS,
        )
        for name, (title, detail) in tips.items()
    ]

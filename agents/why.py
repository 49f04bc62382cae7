"""The reason beside a tip: one to three short lines, from the same facts that the policy saw."""

from __future__ import annotations

from collections.abc import Sequence

from agents.features import DEFAULT_MINUTES, Moment
from oo.v1 import decision_pb2, row_pb2
from streams.units import DAY_MS, MINUTE_MS
from tables import backlog
from tables.backlog import Told
from tables.bounds import NEVER_MS
from tables.zones import local, part_name

LINES_MAX = 3
ABOUT_LINES_MAX = 2


def lines(
    row: row_pb2.UserRow,
    kind: int,
    task: Told | None,
    *,
    at: Moment,
    often_done_now: bool,
    listed: bool,
    about: Sequence[str] = (),
) -> list[str]:
    """Why this tip now, the strongest reason first; never empty for a tip.

    `task`: what it is, or what a written tip is about. `listed`: tasks may be used. Once that is withdrawn, what is on a list is nothing to
    speak of. `about`: what a written tip rests on.
    """
    if kind == decision_pb2.Decision.NONE:
        return []
    found = [*about][:ABOUT_LINES_MAX]
    if task is not None:
        found += _about_task(row, task.column, at=at)
    elif kind == decision_pb2.Decision.STARTER and listed:
        found.append("There is nothing on your list that could be done now")
    if often_done_now:
        found.append(f"You often get things done in the {part_name(at.part)}")
    if not found:
        found.append("It is next on your list" if listed else "It takes a moment, and no list")
    return found[:LINES_MAX]


def _about_task(row: row_pb2.UserRow, column: Sequence[int], *, at: Moment) -> list[str]:
    due_ms, priority = column[backlog.DUE], column[backlog.PRIORITY]
    found = _due(due_ms, at=at, time_zone=row.time_zone) if due_ms else []
    if priority:
        found.append(("Highest priority", "High priority", "Medium priority", "Low priority")[priority - 1])
    minutes = column[backlog.MINUTES] or DEFAULT_MINUTES
    free_minutes = at.free_ms // MINUTE_MS
    if at.calendar.next_start_ms != NEVER_MS and minutes <= free_minutes < 240:
        found.append(f"It fits into the {free_minutes} minutes before {at.calendar.next_title}")
    age_days = (at.now_ms - (column[backlog.CREATED] or column[backlog.UPDATED])) // DAY_MS
    if age_days >= 14:
        found.append(f"It has been waiting for {age_days} days")
    return found


def _due(due_ms: int, *, at: Moment, time_zone: str) -> list[str]:
    due = local(due_ms, time_zone=time_zone)
    days = due.toordinal() - at.clock.toordinal()
    # The end of a day stands for "that day": no clock time is shown for it.
    clock = "" if (due.hour, due.minute) == (23, 59) else f" at {due.hour:02}:{due.minute:02}"
    if due_ms < at.now_ms:
        return ["It was due earlier today" if days == 0 else f"Overdue by {-days} day{'s' if days != -1 else ''}"]
    if days == 0:
        return [f"Due today{clock}"]
    if days == 1:
        return [f"Due tomorrow{clock}"]
    return [f"Due in {days} days"] if days <= 7 else []

"""What the policy sees of a candidate: a vector of whole numbers, in units of 1/64 within [-64, 64].

Whole numbers throughout: the same bits on every machine, live and in replay. Scaling is fixed; nothing here depends
on what other people do. A change of names, order or meaning is a new VERSION.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.candidates import GAP_MS_MAX, MINUTE_MS, Calendar, Proposal
from oo.v1 import decision_pb2, row_pb2
from oo.v1.outcome_pb2 import Outcome
from tables import backlog, windows
from tables.windows import DAY_MS, HOUR_MS
from tables.zones import local, part_of

VERSION = 1

NAMES = (
    "one",
    "starter",
    "generated",
    "priority",
    "has_due",
    "overdue",
    "due_within_day",
    "due_within_week",
    "age",
    "short",
    "fits_gap",
    "busy_now",
    "free_time",
    "morning",
    "afternoon",
    "evening",
    "weekend",
    "done_rate_28d",
    "dismiss_rate_7d",
    "snooze_rate_24h",
    "reactions_1h",
    "done_in_this_part",
    "shown",
    "dismissed",
)
D = len(NAMES)
_OF_TASK = slice(NAMES.index("priority"), NAMES.index("fits_gap") + 1)
_HISTORY = slice(NAMES.index("shown"), D)
"""Where the places of a task's own stand; all others are the same for all candidates of a kind."""
_NONE = (0,) * D
ONE = 64
WEEK_MS = 7 * DAY_MS
DEFAULT_MINUTES = 30
"""How long a task is taken to last when nobody said."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What all candidates of one decision share."""

    now_ms: int
    part: int
    often_done_now: bool
    """Half or more of a full count of tasks done falls into this part of the day."""
    base: dict[int, tuple[int, ...]]
    """By tip kind, the vector before anything of the candidate's own is in it."""
    calendar: Calendar
    free_ms: int


def moment(row: row_pb2.UserRow, *, calendar: Calendar, now_ms: int) -> Moment:
    """Reads the row once for a whole slate."""
    clock = local(now_ms, time_zone=row.time_zone)
    part = part_of(clock)
    hour, day, week, month = windows.last_of_each(
        row.windows, now_ms=now_ms, spans_ms=(HOUR_MS, DAY_MS, WEEK_MS, 28 * DAY_MS)
    )
    last_hour = sum(
        windows.total(hour, reaction=reaction) for reaction in (Outcome.DONE, Outcome.SNOOZE, Outcome.DISMISS)
    )
    done_here = windows.total(month, reaction=Outcome.DONE, part=part)
    free_ms = calendar.free_ms(now_ms)
    shared = {
        "one": ONE,
        "busy_now": ONE if calendar.busy_until_ms else 0,
        "free_time": ONE * free_ms // GAP_MS_MAX,
        "morning": ONE * (part == 1),
        "afternoon": ONE * (part == 2),
        "evening": ONE * (part == 3),
        "weekend": ONE * (clock.weekday() >= 5),
        "reactions_1h": ONE * last_hour // (last_hour + 3),
        "done_in_this_part": ONE * done_here // (done_here + 5),
    }
    base = {}
    for kind, name in (
        (decision_pb2.Decision.TASK, "one"),
        (decision_pb2.Decision.STARTER, "starter"),
        (decision_pb2.Decision.GENERATED, "generated"),
    ):
        values = {
            **shared,
            name: ONE,
            "done_rate_28d": windows.rate_64(month, reaction=Outcome.DONE, kind=kind),
            "dismiss_rate_7d": windows.rate_64(week, reaction=Outcome.DISMISS, kind=kind),
            "snooze_rate_24h": windows.rate_64(day, reaction=Outcome.SNOOZE, kind=kind),
        }
        base[int(kind)] = tuple([values.get(name, 0) for name in NAMES])
    return Moment(
        now_ms=now_ms,
        part=part,
        often_done_now=shared["done_in_this_part"] >= ONE // 2,
        base=base,
        calendar=calendar,
        free_ms=free_ms,
    )


def vector(proposal: Proposal, *, at: Moment) -> tuple[int, ...]:
    """The features of one candidate: (D,) in units of 1/64. Saying nothing has none: all zeros."""
    task = proposal.task
    if task is None:
        return at.base.get(proposal.kind, _NONE)
    x = list(at.base[proposal.kind])
    x[_OF_TASK] = _of_task(task, at=at)
    shown, dismissed = task.shown, task.dismissed
    x[_HISTORY] = ONE * shown // (shown + 2), ONE * dismissed // (dismissed + 1)
    return tuple(x)


def _of_task(task: row_pb2.Task, *, at: Moment) -> tuple[int, ...]:
    """From `priority` to `fits_gap`."""
    priority, due_ms, minutes = task.priority, task.due_ms, task.estimated_minutes or DEFAULT_MINUTES
    has_due = overdue = within_day = within_week = 0
    if due_ms:
        left_ms = due_ms - at.now_ms
        has_due = ONE
        overdue = ONE if left_ms < 0 else 0
        within_day = ONE * max(DAY_MS - max(left_ms, 0), 0) // DAY_MS
        within_week = ONE * max(WEEK_MS - max(left_ms, 0), 0) // WEEK_MS
    age_days = max(at.now_ms - backlog.created_ms(task), 0) // DAY_MS
    return (
        16 * (5 - priority) if priority else 0,
        has_due,
        overdue,
        within_day,
        within_week,
        ONE * age_days // (age_days + 7),
        ONE * max(120 - minutes, 0) // 120,
        ONE if minutes * MINUTE_MS <= at.free_ms else 0,
    )

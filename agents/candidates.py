"""What could be said now: the person's tasks, tips from a language model, starter tips, and saying nothing.

It only proposes. Whether a candidate may be chosen is `eligibility`'s word, how good it is the policy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from oo.v1 import decision_pb2, journal_pb2, row_pb2
from streams.units import HOUR_MS, MINUTE_MS
from tables import backlog
from tables.backlog import Backlog
from tables.bounds import NEVER_MS
from tables.compiled import Int, compiled
from tables.linear import Ints

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


class Calendar(NamedTuple):
    """The person's calendar around now."""

    busy_until_ms: int
    """End of the busy event that runs now; 0 when free."""
    next_start_ms: int
    """Start of the next busy event; `NEVER_MS` for none."""
    next_place: int
    """Where it stands among the events; -1 for none."""
    held: bool
    """An event runs that leaves no time beside it."""
    items: Backlog

    @property
    def next_title(self) -> str:
        """What the next busy event is called."""
        return self.items.event(self.next_place).title if self.next_place >= 0 else ""

    def free_ms(self, now_ms: int) -> int:
        """Free time from now on, at most four hours; 0 while busy."""
        return 0 if self.busy_until_ms else min(self.next_start_ms - now_ms, GAP_MS_MAX)


class Proposal(NamedTuple):
    """One candidate that is no task, with what a tip would show."""

    id: str
    kind: decision_pb2.Decision.TipKind.ValueType
    title: str = ""
    detail: str = ""
    until_ms: int = NEVER_MS
    """When what it says stops being so."""
    prompt_version: str = ""
    model: str = ""
    about: Sequence[str] = ()
    """Ids of the tasks and events that it rests on."""
    chance: int = 0
    chances: int = 0
    """Of its prompt and model: chance over chances."""


NOTHING = Proposal(NONE_ID, decision_pb2.Decision.NONE)


def generated_id(external_id: str) -> str:
    """The candidate id of a tip that a language model wrote.

    >>> generated_id("r1-0")
    'generated:r1-0'
    """
    return f"generated:{external_id}"


def calendar_at(items: Backlog, *, now_ms: int, holds_ms_max: int) -> Calendar:
    """The calendar around now; events of no time at all and events that leave one free do not count.

    `holds_ms_max`: a longer event says where someone is, not that they are held.
    """
    busy_until_ms, place, next_start_ms, held = _around(items.events, now_ms, holds_ms_max)
    return Calendar(busy_until_ms, next_start_ms, place, bool(held), items)


def others(row: row_pb2.UserRow, *, calendar: Calendar, now_ms: int) -> Sequence[Proposal]:
    """What there is beside tasks, sorted by candidate id so that it is the same everywhere: all of it comes before them."""
    starts_soon = calendar.busy_until_ms == 0 and calendar.next_start_ms - now_ms <= STARTER_GAP_MS_MAX
    if not starts_soon and not row.generated:
        return ALWAYS
    before = [_before_next(calendar, now_ms=now_ms)] if starts_soon else []
    return sorted([*ALWAYS, *before, *map(_generated, row.generated[:GENERATED_MAX])], key=attrgetter("id"))


def beside(row: row_pb2.UserRow) -> list[str]:
    """The ids of all that there may be beside tasks, at any time."""
    written = (generated_id(one.external_id) for one in row.generated[:GENERATED_MAX])
    return [*_STARTER_IDS, *written]


def _generated(tip: journal_pb2.GeneratedTip) -> Proposal:
    return Proposal(
        id=generated_id(tip.external_id),
        kind=decision_pb2.Decision.GENERATED,
        title=tip.title,
        detail=tip.detail,
        until_ms=tip.expires_ms,
        prompt_version=tip.prompt_version,
        model=tip.model,
        about=tip.about,
        chance=tip.chance,
        chances=tip.chances,
    )


@compiled("i8[::1](i8[:, ::1], i8)")
def first_tasks(tasks: Ints, now_ms: Int) -> Ints:
    """The 40 that rank highest, those that are quiet now after all others; by index, in the order in which they stand."""
    n = tasks.shape[1]
    if n <= TASKS_MAX:
        return np.arange(n)
    best, held = np.empty(TASKS_MAX, dtype=np.int64), 0
    for i in range(n):
        at = held
        quiet = tasks[backlog.QUIET_UNTIL, i] > now_ms
        while at > 0:
            other = best[at - 1]
            later = tasks[backlog.QUIET_UNTIL, other] > now_ms
            before = later if quiet != later else backlog.ranks_before(tasks, np.int64(i), other)
            if not before:
                break
            if at < TASKS_MAX:
                best[at] = other
            at -= 1
        if at < TASKS_MAX:
            best[at] = i
            held = min(held + 1, TASKS_MAX)
    best.sort()
    return best


@compiled("UniTuple(i8, 4)(i8[:, ::1], i8, i8)")
def _around(events: Ints, now_ms: Int, holds_ms_max: Int) -> tuple[Int, Int, Int, Int]:
    """End of what runs, place and start of what comes next (-1 and never for none), and whether what runs holds."""
    until, place, start, held = np.int64(0), np.int64(-1), np.int64(NEVER_MS), np.int64(0)
    for i in range(events.shape[1]):
        begins, ends = events[backlog.START, i], events[backlog.END, i]
        if not events[backlog.BUSY, i] or ends <= now_ms:
            continue
        if begins <= now_ms:
            until = max(until, ends)
            if ends - begins <= holds_ms_max:
                held = np.int64(1)
        elif begins < start:
            place, start = np.int64(i), begins
    return until, place, start, held


@compiled("i8(i8[:, ::1], i8, i8)")
def next_hold_ms(events: Ints, now_ms: Int, holds_ms_max: Int) -> Int:
    """When the next event begins that leaves no time beside it; never for none."""
    soonest = np.int64(NEVER_MS)
    for i in range(events.shape[1]):
        begins = events[backlog.START, i]
        if events[backlog.BUSY, i] and begins > now_ms and events[backlog.END, i] - begins <= holds_ms_max:
            soonest = min(soonest, begins)
    return soonest


def _starter(name: str, title: str, detail: str, *, until_ms: int = NEVER_MS) -> Proposal:
    return Proposal(f"starter:{name}", decision_pb2.Decision.STARTER, title=title, detail=detail, until_ms=until_ms)


_STARTERS = (
    _starter("plan", "Write down the one thing you want done today", "One line is enough: oO takes it from there."),
    _starter("pause", "Stand up and rest your eyes for five minutes", "Look at something far away."),
    _starter("tidy", "Clear one small thing that has been waiting", "A mail, a cup, a message: two minutes, not more."),
)
"""Tips for someone with nothing to choose from yet."""
ALWAYS = tuple(sorted([NOTHING, *_STARTERS], key=attrgetter("id")))
_PREPARE, _GAP = "prepare", "gap"
_STARTER_IDS = (*(one.id for one in _STARTERS), *(f"starter:{name}" for name in (_PREPARE, _GAP)))


def _before_next(calendar: Calendar, *, now_ms: int) -> Proposal:
    """A tip for the free time before the next event; it is over when that starts."""
    minutes = (calendar.next_start_ms - now_ms) // MINUTE_MS
    if minutes <= 30:
        name, title = _PREPARE, f"Take two minutes to get ready for {calendar.next_title}"
        detail = f"It starts in {minutes} minutes."
    else:
        name, title = _GAP, f"Start something small before {calendar.next_title}"
        detail = f"You have {minutes} free minutes."
    return _starter(name, title, detail, until_ms=calendar.next_start_ms)

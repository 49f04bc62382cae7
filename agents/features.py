"""What the policy sees of a candidate: a vector of whole numbers, in units of 1/64 within [0, 64].

Whole numbers throughout: the same bits on every machine, live, in replay and in training. Scaling is fixed; nothing here
depends on what other people do. A change of names, order or meaning is a new VERSION.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from agents.candidates import Calendar, Proposal
from oo.v1 import decision_pb2, features_pb2, row_pb2
from oo.v1.outcome_pb2 import Outcome
from streams.units import DAY_MS, MINUTE_MS
from tables import backlog, windows
from tables.zones import local, part_of

VERSION = 2

ONE = 64
LABEL_BUCKETS = 4


class Feature(NamedTuple):
    """One entry of every vector."""

    name: str
    meaning: str


_OWN = (
    Feature("task", "a task of theirs"),
    Feature("starter", "a starter tip"),
    Feature("generated", "a tip that a language model wrote"),
    Feature("priority", "1/4 for the lowest that a source gives, 1 for the highest, 0 for none"),
    Feature("overdue", "its due time is past"),
    Feature("due_within_day", "how near its due time is, from 0 a day before to 1 when it is due"),
    Feature("short", "how much shorter than two hours it is estimated; half an hour where nobody said"),
    Feature("fits_gap", "its estimated length fits into the free time before the next busy event"),
    Feature("novel", "how new it is, from 1 when it is told to 0 a day later"),
    *(Feature(f"label_{i}", f"has a label whose hash falls into bucket {i}") for i in range(LABEL_BUCKETS)),
    Feature("morning", "6 to 12 on their clock"),
    Feature("afternoon", "12 to 18 on their clock"),
    Feature("evening", "18 to 24 on their clock"),
)
"""Those in which people are taken to differ: the first q entries of a vector."""

_PARTS = ("morning", "afternoon", "evening")

_SHARED = (
    Feature("weekend", "Saturday or Sunday on their clock"),
    Feature("has_due", "has a due time"),
    Feature("due_within_week", "how near its due time is, from 0 a week before to 1 when it is due"),
    Feature("age", "days since it was told, n / (n + 7)"),
    Feature("busy_now", "an event of their calendar runs"),
    Feature("done_rate_28d", "of reactions to tips of its kind in 28 days, the smoothed share of done"),
    Feature("dismiss_rate_7d", "likewise of dismiss, in 7 days"),
    Feature("snooze_rate_24h", "likewise of snooze, in 24 hours"),
    Feature("done_in_this_part", "done in 28 days in this part of the day, n / (n + 5)"),
    Feature("shown", "how often it was seen, n / (n + 2)"),
    Feature("dismissed", "how often it was dismissed, n / (n + 1)"),
    Feature("prompt", "the hash of its prompt and model is odd"),
    # What people do at which time is a routine, and no sum of the two.
    *(
        Feature(f"label_{i}_{part}", f"a label of bucket {i}, in the {part}")
        for i in range(LABEL_BUCKETS)
        for part in _PARTS
    ),
)

FEATURES = (*_OWN, *_SHARED)
NAMES = tuple(feature.name for feature in FEATURES)
D = len(NAMES)
Q = len(_OWN)

_INDEX = {name: index for index, name in enumerate(NAMES)}
_NONE = (0,) * D
_TASK = tuple(
    _INDEX[name]
    for name in (
        *("priority", "overdue", "due_within_day", "short", "fits_gap", "novel"),
        *("has_due", "due_within_week", "age", "shown", "dismissed"),
    )
)
"""The places of what `_of_task` gives, in its order."""
_LABELS = _INDEX["label_0"]
_PROMPT = _INDEX["prompt"]
_ROUTINE = _INDEX["label_0_morning"]
WEEK_MS = 7 * DAY_MS
DEFAULT_MINUTES = 30
"""How long a task is taken to last when nobody said."""


def feature_set() -> features_pb2.FeatureSet:
    """The names, ranges and order of every vector, as versions carry them.

    >>> feature_set().features[0].name, len(feature_set().features) == D
    ('task', True)
    """
    return features_pb2.FeatureSet(
        version=VERSION,
        features=[
            features_pb2.Feature(name=one.name, low=0, high=ONE, own=index < Q, meaning=one.meaning)
            for index, one in enumerate(FEATURES)
        ],
    )


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
    day, week, month = windows.last_of_each(row.windows, now_ms=now_ms, spans_ms=(DAY_MS, WEEK_MS, 28 * DAY_MS))
    done_here = windows.total(month, reaction=Outcome.DONE, part=part)
    free_ms = calendar.free_ms(now_ms)
    shared = {
        "busy_now": ONE if calendar.busy_until_ms else 0,
        "morning": ONE * (part == 1),
        "afternoon": ONE * (part == 2),
        "evening": ONE * (part == 3),
        "weekend": ONE * (clock.weekday() >= 5),
        "done_in_this_part": ONE * done_here // (done_here + 5),
    }
    base = {}
    for kind, name in (
        (decision_pb2.Decision.TASK, "task"),
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
        base = at.base.get(proposal.kind, _NONE)
        if not proposal.prompt_version and not proposal.model:
            return base
        odd = _bucket(f"{proposal.prompt_version}/{proposal.model}", 2)
        return (*base[:_PROMPT], ONE * odd, *base[_PROMPT + 1 :])
    x = list(at.base[proposal.kind])
    for place, value in zip(_TASK, _of_task(task, at=at), strict=True):
        x[place] = value
    for label in task.labels:
        bucket = _bucket(label, LABEL_BUCKETS)
        x[_LABELS + bucket] = ONE
        if at.part:
            x[_ROUTINE + bucket * len(_PARTS) + at.part - 1] = ONE
    return tuple(x)


def _of_task(task: row_pb2.Task, *, at: Moment) -> tuple[int, ...]:
    """In the order of _TASK."""
    priority, due_ms, minutes = task.priority, task.due_ms, task.estimated_minutes or DEFAULT_MINUTES
    has_due = overdue = within_day = within_week = 0
    if due_ms:
        left_ms = due_ms - at.now_ms
        has_due = ONE
        overdue = ONE if left_ms < 0 else 0
        within_day = ONE * max(DAY_MS - max(left_ms, 0), 0) // DAY_MS
        within_week = ONE * max(WEEK_MS - max(left_ms, 0), 0) // WEEK_MS
    age_ms = max(at.now_ms - backlog.created_ms(task), 0)
    age_days, shown, dismissed = age_ms // DAY_MS, task.shown, task.dismissed
    return (
        16 * (5 - priority) if priority else 0,
        overdue,
        within_day,
        ONE * max(120 - minutes, 0) // 120,
        ONE if minutes * MINUTE_MS <= at.free_ms else 0,
        ONE * max(DAY_MS - age_ms, 0) // DAY_MS,
        has_due,
        within_week,
        ONE * age_days // (age_days + 7),
        ONE * shown // (shown + 2),
        ONE * dismissed // (dismissed + 1),
    )


@lru_cache(maxsize=4096)
def _bucket(text: str, buckets: int) -> int:
    """One of so many buckets by the hash of a text: Weinberger et al. 2009, "Feature hashing for large scale multitask learning"."""
    return hashlib.blake2b(text.encode(), digest_size=1).digest()[0] % buckets

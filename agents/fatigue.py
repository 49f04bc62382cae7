"""How much is too much: tips that came unasked and were seen, against the most of an hour, a day and a kind.

A tip that is looked at within minutes of a reaction was asked for: whoever works through their list is never stopped.
Works on the copy of the row that `step` hands through. It never decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.opened import Opened
from oo.v1 import decision_pb2, policy_pb2, row_pb2
from oo.v1.outcome_pb2 import Outcome
from streams.units import DAY_MS, HOUR_MS
from tables import windows
from tables.windows import Cell

CAP_HOUR = "cap-hour"
CAP_DAY = "cap-day"
CAP_KIND = "cap-kind"

_WIDTH_S_MAX = 3600
"""Buckets of the last hour and of the last day; nothing looks further back."""


@dataclass(frozen=True, slots=True)
class Cap:
    """One bound that is reached."""

    reason: str
    kind: int
    """The kind of tips that it holds back; 0 for all."""
    from_ms: int
    """From when on it does: the tips after a reaction are let through."""
    until_ms: int
    """When enough of what it counts has left its window."""


def see(opened: Opened, kind: int, *, config: policy_pb2.DecisionConfig) -> None:
    """Counts a tip that is seen now, unless it was asked for. On the row's clock, which the ticks run on."""
    row, now_ms = opened.row, opened.row.now_ms
    if now_ms < _asked_until_ms(row, config=config):
        return
    cell = Cell(reaction=Outcome.SEEN, kind=kind, part=0)
    counted = windows.add(windows.unasked(row), cell, event_ms=now_ms, now_ms=now_ms)
    windows.keep_unasked(row, np.ascontiguousarray(counted[:, counted[0] <= _WIDTH_S_MAX]))


def caps(opened: Opened, *, config: policy_pb2.DecisionConfig) -> list[Cap]:
    """The bounds that are reached now, whether or not they hold anything back yet."""
    row = opened.row
    # What the row holds in all is below every bound for most people: then nothing has to be looked at more closely.
    held = windows.most_of_a_width(windows.unasked_block(row))
    if held < 0:
        raise ValueError("not a block of windows")
    if not held:
        return []
    hour, day = config.cap_hour, config.cap_day
    if row.HasField("profile"):
        own = row.profile
        hour = _own(own.tips_per_hour, hour, config.own_cap_hour_max)
        day = _own(own.tips_per_day, day, config.own_cap_day_max)
    bounds = (
        (CAP_HOUR, 0, HOUR_MS, hour),
        (CAP_DAY, 0, DAY_MS, day),
        (CAP_KIND, decision_pb2.Decision.TASK, DAY_MS, config.cap_day_task),
        (CAP_KIND, decision_pb2.Decision.STARTER, DAY_MS, config.cap_day_starter),
        (CAP_KIND, decision_pb2.Decision.GENERATED, DAY_MS, config.cap_day_generated),
    )
    found = []
    for reason, kind, span_ms, most in bounds:
        if 0 < most <= held:
            until_ms = windows.falls_below_ms(
                windows.unasked(row), most, now_ms=row.now_ms, span_ms=span_ms, reaction=Outcome.SEEN, kind=kind
            )
            if until_ms:
                from_ms = _asked_until_ms(row, config=config)
                found.append(Cap(reason=reason, kind=kind, from_ms=from_ms, until_ms=until_ms))
    return found


def _own(own: int, default: int, own_max: int) -> int:
    """The person's own bound, within what the policy lets them set; the policy's where they said none.

    >>> _own(3, 12, 60), _own(0, 12, 60), _own(500, 12, 60), _own(3, 0, 0)
    (3, 12, 60, 3)
    """
    return min(own, own_max or own) if own else default


def _asked_until_ms(row: row_pb2.UserRow, *, config: policy_pb2.DecisionConfig) -> int:
    return row.reacted_ms + config.asked_within_ms if row.reacted_ms else 0

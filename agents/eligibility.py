"""Which candidates may be chosen now, and every reason why the others may not. The mask is logged with the slate.

It never chooses, and never keeps anyone from saying nothing. What is merely unfit (a long task in a short gap) is the
policy's to weigh; what is out here is out for sure.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents import candidates, fatigue, profile, quiet_hours
from agents.fatigue import Cap
from agents.limits import Limits
from agents.outcomes import Current
from oo.v1 import decision_pb2, policy_pb2, row_pb2
from streams.units import DAY_MS
from tables import slates
from tables.backlog import Backlog
from tables.bounds import NEVER_MS

CONSENT, QUIET_HOURS, CAP_HOUR, CAP_DAY, CAP_KIND, EXPIRED, DONE, SNOOZED, COOLING_DOWN, CONFLICT, *_REST = (
    1 << bit for bit in range(len(slates.REASONS))
)
HAS_TASKS, DUPLICATE, REPEATED_KIND, SOURCE, ABOUT = _REST
"""The bit of each reason."""

REASONS = {
    "consent": "The person has withdrawn consent to this kind of tips.",
    "quiet-hours": "It is within the person's quiet hours.",
    "cap-hour": "As many tips as may be were seen unasked within an hour.",
    "cap-day": "As many tips as may be were seen unasked within a day.",
    "cap-kind": "As many tips of this kind as may be were seen unasked within a day.",
    "expired": "What it says has run out.",
    "done": "The person has done it.",
    "snoozed": "The person has put it off until later.",
    "cooling-down": "The person has dismissed it, or has just had it.",
    "conflict": "It takes longer than a moment, and the person is busy until an event ends.",
    "has-tasks": "It is a starter tip, and there is something to do.",
    "duplicate": "A better one says the same.",
    "repeated-kind": "Too many of this kind were seen running, and there is another kind to choose.",
    "source": "The person has withdrawn its source.",
    "about": "What it is about is done, gone, put off or withdrawn.",
}
"""Every reason, in the order in which a mask names them."""

OF_QUIET: dict[int, int] = {row_pb2.Task.SNOOZED: SNOOZED, row_pb2.Task.DONE: DONE}
"""What a task or a candidate is put off for; anything else is a cool-down."""
_KINDS = (decision_pb2.Decision.TASK, decision_pb2.Decision.GENERATED, decision_pb2.Decision.STARTER)


def held(row: row_pb2.UserRow, caps: Sequence[Cap], *, now_ms: int, limits: Limits) -> list[int]:
    """By tip kind, what holds back every tip of that kind, as bits; `caps` are those that are reached."""
    found = [0] * 5
    if row.HasField("profile"):
        quiet = QUIET_HOURS if quiet_hours.until_ms(row, now_ms=now_ms) else 0
        for kind in _KINDS:
            found[kind] = quiet if profile.consents(row, kind) else quiet | CONSENT
    for withdrawn in limits.kinds:
        found[withdrawn] |= CONSENT
    for cap in caps:
        if cap.from_ms <= now_ms:
            for held_kind in (cap.kind,) if cap.kind else _KINDS:
                found[held_kind] |= _OF_CAP[cap.reason]
    return found


def cooling(row: row_pb2.UserRow, *, now_ms: int) -> dict[str, int]:
    """The candidates that are no tasks and put off now, with the bit that says why."""
    if not row.cool_downs:
        return {}
    return {one.candidate: OF_QUIET.get(one.reason, COOLING_DOWN) for one in row.cool_downs if one.until_ms > now_ms}


_OF_CAP = {fatigue.CAP_HOUR: CAP_HOUR, fatigue.CAP_DAY: CAP_DAY, fatigue.CAP_KIND: CAP_KIND}


def may_stand(row: row_pb2.UserRow, current: Current, caps: Sequence[Cap], *, limits: Limits) -> bool:
    """Whether what is being served may still be; a tip that was seen is not taken away for a cap."""
    if current.kind == decision_pb2.Decision.NONE:
        return True
    return not held(row, [] if current.seen_ms else caps, now_ms=row.now_ms, limits=limits)[current.kind]


def silent_until_ms(row: row_pb2.UserRow, caps: Sequence[Cap], *, config: policy_pb2.DecisionConfig) -> int:
    """Until when a choice of now to say nothing may stand: until something can be said, but no longer than a day."""
    now_ms = row.now_ms
    silenced_until_ms = max(
        [
            quiet_hours.until_ms(row, now_ms=now_ms),
            *(c.until_ms for c in caps if not c.kind and c.from_ms <= now_ms),
        ]
    )
    return min(silenced_until_ms or now_ms + config.none_valid_ms, now_ms + DAY_MS)


def valid_until_ms(
    row: row_pb2.UserRow, items: Backlog, *, ends_ms: int, minutes: int, config: policy_pb2.DecisionConfig
) -> int:
    """Until when a tip of now may stand: until quiet hours begin, or an event that leaves no time for it.

    `ends_ms`: when what it says stops being so; `minutes`: how long it is stated to take, 0 for nothing stated.
    """
    now_ms = row.now_ms
    ends = [now_ms + config.tip_valid_ms, ends_ms]
    if row.profile.HasField("quiet_hours"):
        ends.append(quiet_hours.next_change_ms(row, now_ms=now_ms))
    if 0 < config.conflict_minutes <= minutes:
        ends.append(candidates.next_hold_ms(items.events, now_ms, config.conflict_event_ms_max))
    return min(ends)


def next_change_ms(row: row_pb2.UserRow, current: Current | None, caps: Sequence[Cap]) -> int:
    """When what is being served may no longer be, by time alone; 0 for never."""
    if current is None or current.kind == decision_pb2.Decision.NONE:
        return 0
    times_ms = [quiet_hours.next_change_ms(row, now_ms=row.now_ms)] if row.profile.HasField("quiet_hours") else []
    if caps and not current.seen_ms:
        # Whoever reacted was let through a cap, and has not come for what followed.
        times_ms += [cap.from_ms for cap in caps if cap.kind in (0, current.kind)]
    if not times_ms:
        return 0
    soonest_ms = min([time_ms for time_ms in times_ms if time_ms > row.now_ms], default=NEVER_MS)
    return soonest_ms if soonest_ms < NEVER_MS else 0

"""Which candidates may be chosen now, and every reason why the others may not. The mask is logged with the slate.

It never chooses, and never keeps anyone from saying nothing. What is merely unfit (a long task in a short gap) is the
policy's to weigh; what is out here is out for sure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents import candidates, duplicates, fatigue, profile, quiet_hours
from agents.candidates import NOTHING, Proposal
from agents.fatigue import Cap
from oo.v1 import decision_pb2, policy_pb2, row_pb2
from streams.units import DAY_MS
from tables import backlog

CONSENT = "consent"
QUIET_HOURS = "quiet-hours"
CAP_HOUR, CAP_DAY, CAP_KIND = fatigue.CAP_HOUR, fatigue.CAP_DAY, fatigue.CAP_KIND
EXPIRED = "expired"
DONE = "done"
SNOOZED = "snoozed"
COOLING_DOWN = "cooling-down"
CONFLICT = "conflict"
HAS_TASKS = "has-tasks"
DUPLICATE = "duplicate"
REPEATED_KIND = "repeated-kind"

REASONS = {
    CONSENT: "The person has withdrawn consent to this kind of tips.",
    QUIET_HOURS: "It is within the person's quiet hours.",
    CAP_HOUR: "As many tips as may be were seen unasked within an hour.",
    CAP_DAY: "As many tips as may be were seen unasked within a day.",
    CAP_KIND: "As many tips of this kind as may be were seen unasked within a day.",
    EXPIRED: "What it says has run out.",
    DONE: "The person has done it.",
    SNOOZED: "The person has put it off until later.",
    COOLING_DOWN: "The person has dismissed it, or has just had it.",
    CONFLICT: "It takes longer than a moment, and the person is busy until an event ends.",
    HAS_TASKS: "It is a starter tip, and there is something to do.",
    DUPLICATE: "A better one says the same.",
    REPEATED_KIND: "Too many of this kind were seen running, and there is another kind to choose.",
}
"""Every reason, in the order in which a mask names them."""

_TO_DO = frozenset([decision_pb2.Decision.TASK, decision_pb2.Decision.GENERATED])
"""Tips that a starter tip makes way for."""
_OF_QUIET: dict[int, str] = {row_pb2.Task.SNOOZED: SNOOZED, row_pb2.Task.DONE: DONE}
"""What a task or a candidate is put off for; anything else is a cool-down."""
_KINDS = (decision_pb2.Decision.TASK, decision_pb2.Decision.GENERATED, decision_pb2.Decision.STARTER)
"""Of two tips that say the same, the one of the earlier kind stays."""


def reasons(
    row: row_pb2.UserRow, slate: Sequence[Proposal], *, now_ms: int, config: policy_pb2.DecisionConfig
) -> list[tuple[str, ...]]:
    """For each candidate in turn, why it is out; empty for eligible. Saying nothing is always eligible.

    A starter tip is for someone with no task to choose from: it is out as soon as one task is in, or would be but for
    the event that the person is in.
    """
    caps = fatigue.caps(row, config=config)
    held = {int(kind): _held(row, kind, caps, now_ms=now_ms) for kind in _KINDS}
    cooling = {
        one.candidate: _OF_QUIET.get(one.reason, COOLING_DOWN) for one in row.cool_downs if one.until_ms > now_ms
    }
    busy = any(event.start_ms <= now_ms < event.end_ms and _holds(event, config=config) for event in row.events)
    masks = [
        held[one.kind] + _of_its_own(one, cooling, busy=busy, now_ms=now_ms, config=config)
        if one is not NOTHING
        else ()
        for one in slate
    ]
    if any(one.kind in _TO_DO and mask in ((), (CONFLICT,)) for one, mask in zip(slate, masks, strict=True)):
        _add(masks, HAS_TASKS, [i for i, one in enumerate(slate) if one.kind == decision_pb2.Decision.STARTER])
    if config.duplicate_permille:
        _add(masks, DUPLICATE, _duplicates(slate, _tips_left(slate, masks), permille=config.duplicate_permille))
    repeated = _repeated_kind(row, config=config)
    if repeated:
        left = _tips_left(slate, masks)
        if any(slate[i].kind != repeated for i in left):
            _add(masks, REPEATED_KIND, [i for i in left if slate[i].kind == repeated])
    return masks


def something_to_do(row: row_pb2.UserRow, *, config: policy_pb2.DecisionConfig) -> bool:
    """Whether a task or a generated tip may be chosen now."""
    if not row.tasks and not row.generated:
        return False
    slate = candidates.propose(row, calendar=candidates.calendar_at(row, now_ms=row.now_ms), now_ms=row.now_ms)
    masks = reasons(row, slate, now_ms=row.now_ms, config=config)
    return any(one.kind in _TO_DO and not mask for one, mask in zip(slate, masks, strict=True))


def may_stand(row: row_pb2.UserRow, current: row_pb2.PendingDecision, *, config: policy_pb2.DecisionConfig) -> bool:
    """Whether what is being served may still be; a tip that was seen is not taken away for a cap."""
    if current.kind == decision_pb2.Decision.NONE:
        return True
    caps = [] if current.seen_ms else fatigue.caps(row, config=config)
    return not _held(row, current.kind, caps, now_ms=row.now_ms)


def valid_until_ms(row: row_pb2.UserRow, picked: Proposal, *, config: policy_pb2.DecisionConfig) -> int:
    """Until when a choice of now may stand: a tip until quiet hours begin, or an event that leaves no time for it.

    Where nothing could be said, silence stands until something can, but no longer than a day.
    """
    now_ms = row.now_ms
    if picked.kind == decision_pb2.Decision.NONE:
        silenced_until_ms = max(
            [
                quiet_until_ms(row, now_ms=now_ms),
                *(c.until_ms for c in fatigue.caps(row, config=config) if not c.kind and c.from_ms <= now_ms),
            ]
        )
        return min(silenced_until_ms or now_ms + config.none_valid_ms, now_ms + DAY_MS)
    ends_ms = [now_ms + config.tip_valid_ms, picked.until_ms]
    if row.profile.HasField("quiet_hours"):
        ends_ms += [_quiet_changes_ms(row, now_ms=now_ms)]
    if _takes_time(picked, config=config):
        ends_ms += [event.start_ms for event in row.events if event.start_ms > now_ms and _holds(event, config=config)]
    return min(ends_ms)


def next_change_ms(
    row: row_pb2.UserRow, current: row_pb2.PendingDecision | None, *, config: policy_pb2.DecisionConfig
) -> int:
    """When what is being served may no longer be, by time alone; 0 for never."""
    if current is None or current.kind == decision_pb2.Decision.NONE:
        return 0
    times_ms = [_quiet_changes_ms(row, now_ms=row.now_ms)] if row.profile.HasField("quiet_hours") else []
    if not current.seen_ms:
        # Whoever reacted was let through a cap, and has not come for what followed.
        times_ms += [cap.from_ms for cap in fatigue.caps(row, config=config) if cap.kind in (0, current.kind)]
    soonest_ms = min([time_ms for time_ms in times_ms if time_ms > row.now_ms], default=backlog.NEVER_MS)
    return soonest_ms if soonest_ms < backlog.NEVER_MS else 0


def quiet_until_ms(row: row_pb2.UserRow, *, now_ms: int) -> int:
    """The end of the quiet hours that run now; 0 outside of them, `backlog.NEVER_MS` for quiet without an end."""
    if not row.profile.HasField("quiet_hours"):
        return 0
    if not quiet_hours.is_quiet(row.profile.quiet_hours, now_ms, time_zone=row.time_zone):
        return 0
    return _quiet_changes_ms(row, now_ms=now_ms)


def _quiet_changes_ms(row: row_pb2.UserRow, *, now_ms: int) -> int:
    changes_ms = quiet_hours.changes_ms(row.profile.quiet_hours, now_ms, time_zone=row.time_zone)
    return changes_ms or backlog.NEVER_MS


def _held(row: row_pb2.UserRow, kind: int, caps: Sequence[Cap], *, now_ms: int) -> tuple[str, ...]:
    """What holds back every tip of that kind; `caps` are those that are reached."""
    return (
        *(() if profile.consents(row, kind) else (CONSENT,)),
        *((QUIET_HOURS,) if quiet_until_ms(row, now_ms=now_ms) else ()),
        *(cap.reason for cap in caps if cap.kind in (0, kind) and cap.from_ms <= now_ms),
    )


def _of_its_own(
    proposal: Proposal, cooling: dict[str, str], *, busy: bool, now_ms: int, config: policy_pb2.DecisionConfig
) -> tuple[str, ...]:
    found: tuple[str, ...] = (EXPIRED,) if proposal.until_ms <= now_ms else ()
    task = proposal.task
    if task is not None and task.quiet_until_ms > now_ms:
        found += (_OF_QUIET.get(task.quiet_reason, COOLING_DOWN),)
    elif proposal.id in cooling:
        found += (cooling[proposal.id],)
    if busy and _takes_time(proposal, config=config):
        found += (CONFLICT,)
    return found


def _takes_time(proposal: Proposal, *, config: policy_pb2.DecisionConfig) -> bool:
    """True for a task that is stated to take too long to be done beside something else."""
    task = proposal.task
    return task is not None and 0 < config.conflict_minutes <= task.estimated_minutes


def _holds(event: row_pb2.CalendarEvent, *, config: policy_pb2.DecisionConfig) -> bool:
    """True for an event that leaves no time beside it: a longer one says where someone is, not that they are held."""
    return event.busy and event.end_ms - event.start_ms <= config.conflict_event_ms_max


def _tips_left(slate: Sequence[Proposal], masks: Sequence[tuple[str, ...]]) -> list[int]:
    """The places of the tips that may still be chosen."""
    return [
        i
        for i, (one, mask) in enumerate(zip(slate, masks, strict=True))
        if not mask and one.kind != decision_pb2.Decision.NONE
    ]


def _add(masks: list[tuple[str, ...]], reason: str, places: Iterable[int]) -> None:
    for i in places:
        masks[i] = (*masks[i], reason)


def _duplicates(slate: Sequence[Proposal], left: Sequence[int], *, permille: int) -> list[int]:
    """The places of those that say what a better one of these says: a person's tasks come first, by their rank."""
    said = {i: duplicates.words(_title(slate[i])) for i in left}
    if permille >= 1000 and len(set(said.values())) == len(said):
        return []
    kept: set[frozenset[str]] = set()
    found = []
    for i in sorted(left, key=lambda i: _order(slate[i])):
        words = said[i]
        if words and (
            words in kept or (permille < 1000 and any(duplicates.alike(words, one, permille=permille) for one in kept))
        ):
            found.append(i)
        else:
            kept.add(words)
    return found


def _title(proposal: Proposal) -> str:
    return proposal.title if proposal.task is None else proposal.task.title


def _order(proposal: Proposal) -> tuple[int, tuple[int, int, int, str, str]]:
    task = proposal.task
    rank = backlog.rank(task) if task is not None else (0, 0, 0, "", proposal.id)
    return _KINDS.index(proposal.kind), rank


def _repeated_kind(row: row_pb2.UserRow, *, config: policy_pb2.DecisionConfig) -> int:
    """The kind of the last tips that were seen, if so many running were of one; 0 for none."""
    kinds = [one.kind for one in row.pending if one.seen_ms][-config.same_kind_max :]
    if not config.same_kind_max or len(kinds) < config.same_kind_max or len(set(kinds)) > 1:
        return 0
    return kinds[-1]

"""One decision: slate, mask, features, probabilities, the draw, and the tip that it serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents import candidates, consents, eligibility, features, scores, why, written
from agents.active_version import ActiveVersion
from agents.bandit.expected import predicted
from agents.candidates import Proposal
from agents.fatigue import Cap
from agents.features import Moment
from agents.opened import Opened
from agents.outcomes import Current
from agents.slate import slate_at
from oo.v1 import decision_pb2, journal_pb2, policy_pb2
from tables import backlog, ids, slates
from tables.backlog import Told
from tables.bounds import NEVER_MS
from tables.sums import PREDICTED_UNIT, UNIT, Predicted
from tables.zones import TZDATA_VERSION

OUR_SOURCE = "oo"
"""Of tips that come from no task."""


PACKS_SLATES = 5
"""The step version from which on a decision's slate is packed; records of earlier ones fold as they did."""
NAMES_WRITERS = 8
"""The step version from which on a slate says who wrote each tip that a language model wrote; records of earlier ones fold as they did."""


class Decided(NamedTuple):
    """What was chosen, the tip that it serves, and what that is expected to bring, in units of 1/1024 of a reward."""

    decision: decision_pb2.Decision
    tip: decision_pb2.Tip
    expected: int


def decide(
    opened: Opened,
    *,
    trigger: decision_pb2.Decision.Trigger.ValueType,
    record_id: bytes,
    journal: journal_pb2.Position,
    latency_ms: int,
    policy: ActiveVersion,
    caps: Sequence[Cap],
    step_version: int,
) -> Decided:
    """Chooses among what is there now, notes the choice in the row, and returns it with the tip to serve."""
    row, items, held = opened.row, opened.usable, opened.pending
    now_ms, version, config = row.now_ms, policy.version, policy.version.config
    at = _moment(opened, config=config)
    slate = slate_at(opened, at=at, caps=caps, config=config)
    heard = scores.heard(opened, slate, record_id=record_id, scoring=config.scoring) if row.HasField("scored") else None

    key = ids.draw_key(row.user_id, record_id=record_id)
    choice = policy.policy.pmf(policy.belief, opened.taught, slate.x, silent=slate.silent, now_ms=now_ms, key=key)
    chosen = int(slate.eligible[choice.chosen])
    if chosen < len(slate.others):
        picked, task = slate.others[chosen], None
        valid_until_ms = (
            eligibility.silent_until_ms(row, caps, config=config)
            if picked is candidates.NOTHING
            else eligibility.valid_until_ms(row, items, ends_ms=picked.until_ms, minutes=0, config=config)
        )
    else:
        index = int(slate.tasks[chosen - len(slate.others)])
        task = items.told(index)
        picked = Proposal(task.name, decision_pb2.Decision.TASK, title=task.title, detail=task.notes)
        valid_until_ms = eligibility.valid_until_ms(
            row, items, ends_ms=NEVER_MS, minutes=task.column[backlog.MINUTES], config=config
        )
    subject = task if task is not None else _subject(picked, opened)

    raw_id = ids.decision_bytes(row.user_id, record_id=record_id, mac_key=policy.mac_key)
    decision = decision_pb2.Decision(
        decision_id=ids.spelled(raw_id),
        user_id=row.user_id,
        record_id=record_id,
        decided_ms=now_ms,
        valid_until_ms=valid_until_ms,
        trigger=trigger,
        supersedes=ids.spelled(held.id(-1)) if held.columns.shape[1] else "",
        policy=version.policy,
        policy_version=version.version_id,
        policy_sequence=version.sequence,
        feature_version=policy.space.version,
        step_version=step_version,
        config_hash=policy.config_hash,
        tzdata_version=TZDATA_VERSION,
        chosen=chosen,
        propensity=choice.propensity(choice.chosen),
        title=picked.title,
        latency_ms=latency_ms,
        unshared=not consents.teaches_others(row),
    )
    if picked.kind == decision_pb2.Decision.GENERATED:
        decision.prompt_version, decision.model = picked.prompt_version, picked.model
        decision.prompt_chance, decision.prompt_chances = picked.chance, picked.chances
    decision.journal.CopyFrom(journal)
    if heard is not None:
        decision.scored_by, decision.deaf = config.scoring.model, not heard
    slates.pack(
        decision.packed,
        slate.block,
        slate.eligible,
        shares=choice.shares,
        scored=choice.scored,
        denominator=choice.denominator,
        others=[one.id for one in slate.others],
        items=items,
        tasks=slate.tasks,
    )
    if row.generated and step_version >= NAMES_WRITERS:
        slates.note_writers(
            decision.packed,
            (
                (at, slates.Writer(one.prompt_version, one.model, one.chance, one.chances))
                for at, one in enumerate(slate.others)
                if one.kind == decision_pb2.Decision.GENERATED
            ),
        )
    if step_version < PACKS_SLATES:
        decision.slate.extend(slates.spelled_out(decision))
        decision.ClearField("packed")
    nothing = picked is candidates.NOTHING
    score, shared, own = choice.scored[:, choice.chosen].tolist() if choice.scored.shape[1] else _UNSCORED
    told = _UNTOLD if nothing else predicted(shared, own, choice.known)
    held.add(
        (
            *(
                now_ms,
                picked.kind,
                0,
                subject.column[backlog.KEY] if subject is not None else 0,
                policy.space.version,
            ),
            *(0, 0, 0, 0, *told, 0, 0),
        ),
        raw_id=raw_id,
        name="" if nothing or task is not None else picked.id,
        x=None if nothing else slate.block[slates.X :, chosen],
    )
    row.current_candidate = picked.id
    row.current_valid_until_ms = valid_until_ms
    tip = _tip(
        picked,
        task,
        decision,
        why_lines=why.lines(
            row,
            picked.kind,
            subject,
            at=at,
            often_done_now=slate.often_done_now,
            listed=not opened.limits.tasks,
            about=written.told(picked.about, opened) if picked.about else (),
        ),
    )
    # The score is on a grid of 2^-20, less what any tip costs.
    return Decided(decision, tip, int(score * PREDICTED_UNIT) + config.interruption_cost * (PREDICTED_UNIT // UNIT))


_UNTOLD = Predicted(0, 0, 0)
_UNSCORED = (0.0, 0.0, 0.0)


def _subject(picked: Proposal, opened: Opened) -> Told | None:
    """The task whose features a written tip has."""
    place = written.task_of(picked.about, opened) if picked.about and opened.space != features.FIRST else None
    return None if place is None or place == written.NO_TASK else opened.usable.told(place)


def something_to_do(opened: Opened, caps: Sequence[Cap], *, config: policy_pb2.DecisionConfig) -> bool:
    """Whether a task or a generated tip may be chosen now."""
    slate = slate_at(opened, at=_moment(opened, config=config), caps=caps, config=config)
    return bool(np.isin(slate.block[slates.KIND, slate.eligible], _TO_DO).any())


_TO_DO = (decision_pb2.Decision.TASK, decision_pb2.Decision.GENERATED)


def _moment(opened: Opened, *, config: policy_pb2.DecisionConfig) -> Moment:
    now_ms = opened.row.now_ms
    calendar = candidates.calendar_at(opened.usable, now_ms=now_ms, holds_ms_max=config.conflict_event_ms_max)
    return features.moment(opened.row, calendar=calendar, now_ms=now_ms, space=opened.space)


def stands(opened: Opened, current: Current, *, now_ms: int) -> bool:
    """True while what the current decision says could still be said: its task is there and not put off."""
    if current.kind == decision_pb2.Decision.NONE:
        return True
    if current.kind == decision_pb2.Decision.TASK:
        items = opened.usable
        index = items.index(current.task_key)
        return index is not None and bool(items.tasks[backlog.QUIET_UNTIL, index] <= now_ms)
    row = opened.row
    if current.kind == decision_pb2.Decision.GENERATED and not all(
        written.rests(one.about, opened)
        for one in row.generated
        if candidates.generated_id(one.external_id) == row.current_candidate
    ):
        return False
    return all(c.candidate != row.current_candidate or c.until_ms <= now_ms for c in row.cool_downs)


def _tip(
    picked: Proposal, task: Told | None, decision: decision_pb2.Decision, *, why_lines: list[str]
) -> decision_pb2.Tip:
    nothing = picked is candidates.NOTHING
    tip = decision_pb2.Tip(
        user_id=decision.user_id,
        decision_id="" if nothing else decision.decision_id,
        kind=picked.kind,
        title=picked.title,
        detail=picked.detail,
        source="" if nothing else task.source if task is not None else OUR_SOURCE,
        url=task.url if task is not None else "",
        why=why_lines,
        decided_ms=decision.decided_ms,
        valid_until_ms=decision.valid_until_ms,
        external_id=task.external_id if task is not None else "",
    )
    tip.journal.CopyFrom(decision.journal)
    return tip

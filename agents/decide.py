"""One decision: slate, mask, features, probabilities, the draw, and the tip that it serves."""

from __future__ import annotations

import numpy as np

from agents import candidates, eligibility, features, outcomes, why
from agents.active_version import ActiveVersion
from agents.bandit.expected import predicted
from agents.candidates import Proposal
from oo.v1 import decision_pb2, journal_pb2, row_pb2
from tables import ids, sums
from tables.zones import TZDATA_VERSION

OUR_SOURCE = "oo"
"""Of tips that come from no task."""


def decide(
    row: row_pb2.UserRow,
    *,
    trigger: decision_pb2.Decision.Trigger.ValueType,
    record_id: bytes,
    journal: journal_pb2.Position,
    latency_ms: int,
    policy: ActiveVersion,
    step_version: int,
) -> tuple[decision_pb2.Decision, decision_pb2.Tip]:
    """Chooses among what is there now, notes the choice in the row, and returns it with the tip to serve."""
    now_ms, version, config = row.now_ms, policy.version, policy.version.config
    calendar = candidates.calendar_at(row, now_ms=now_ms)
    slate = candidates.propose(row, calendar=calendar, now_ms=now_ms)
    masks = eligibility.reasons(row, slate, now_ms=now_ms, config=config)
    at = features.moment(row, calendar=calendar, now_ms=now_ms)
    vectors = [features.vector(proposal, at=at) for proposal in slate]

    eligible = [i for i, mask in enumerate(masks) if not mask]
    x = np.array([vectors[i] for i in eligible], dtype=np.int64)
    silent = eligible.index(slate.index(candidates.NOTHING))
    key = ids.draw_key(row.user_id, record_id=record_id)
    taught = sums.read(row.sums, d=features.D, feature_version=features.VERSION)
    choice = policy.policy.pmf(policy.belief, taught, x, silent=silent, now_ms=now_ms, key=key)
    chosen = eligible[choice.chosen]
    picked, x_chosen = slate[chosen], vectors[chosen]
    title = picked.title if picked.task is None else picked.task.title

    raw_id = ids.decision_bytes(row.user_id, record_id=record_id, mac_key=policy.mac_key)
    decision = decision_pb2.Decision(
        decision_id=ids.spelled(raw_id),
        user_id=row.user_id,
        record_id=record_id,
        journal=journal,
        decided_ms=now_ms,
        valid_until_ms=eligibility.valid_until_ms(row, picked, config=config),
        trigger=trigger,
        supersedes=ids.spelled(row.pending[-1].decision_id) if row.pending else "",
        policy=version.policy,
        policy_version=version.version_id,
        policy_sequence=version.sequence,
        feature_version=features.VERSION,
        step_version=step_version,
        config_hash=policy.config_hash,
        tzdata_version=TZDATA_VERSION,
        chosen=chosen,
        propensity=choice.propensity(choice.chosen),
        title=title,
        prompt_version=picked.prompt_version,
        model=picked.model,
        latency_ms=latency_ms,
    )
    add = decision.slate.add
    nothing = (0,) * len(eligible)
    propensities = map(choice.propensity, range(len(eligible)))
    numbers = iter(zip(propensities, choice.draws_won or nothing, choice.scores or nothing, strict=True))
    for proposal, mask, x_own in zip(slate, masks, vectors, strict=True):
        if mask:
            add(id=proposal.id, kind=proposal.kind, ineligible=mask, x=x_own)
        else:
            propensity, won, score = next(numbers)
            add(id=proposal.id, kind=proposal.kind, x=x_own, propensity=propensity, draws_won=won, score=score)
    pending = row.pending.add(decision_id=raw_id, decided_ms=now_ms, kind=picked.kind, feature_version=features.VERSION)
    if picked.task is not None:
        pending.task_key = ids.item_key(picked.task.source, picked.task.external_id)
    elif picked is not candidates.NOTHING:
        pending.candidate_id = picked.id
    if picked is not candidates.NOTHING:
        pending.x.extend(x_chosen)
        if choice.shared:
            told = predicted(choice, choice.chosen)
            pending.shared_prediction, pending.own_prediction, pending.known = told.shared, told.own, told.known
    outcomes.drop_oldest(row)
    row.current_candidate = picked.id
    row.current_valid_until_ms = decision.valid_until_ms
    return decision, _tip(picked, decision, why_lines=why.lines(row, picked, at=at))


def stands(row: row_pb2.UserRow, current: row_pb2.PendingDecision, *, now_ms: int) -> bool:
    """True while what the current decision says could still be said: its task is there and not put off."""
    if current.kind == decision_pb2.Decision.NONE:
        return True
    if current.kind == decision_pb2.Decision.TASK:
        return any(
            candidates.task_id(task.source, task.external_id) == row.current_candidate and task.quiet_until_ms <= now_ms
            for task in row.tasks
        )
    return all(c.candidate != row.current_candidate or c.until_ms <= now_ms for c in row.cool_downs)


def _tip(picked: Proposal, decision: decision_pb2.Decision, *, why_lines: list[str]) -> decision_pb2.Tip:
    tip = decision_pb2.Tip(
        user_id=decision.user_id,
        journal=decision.journal,
        kind=picked.kind,
        title=decision.title,
        why=why_lines,
        decided_ms=decision.decided_ms,
        valid_until_ms=decision.valid_until_ms,
    )
    if picked is not candidates.NOTHING:
        tip.decision_id = decision.decision_id
        tip.source = OUR_SOURCE
        tip.detail = picked.detail
    if picked.task is not None:
        tip.source, tip.detail, tip.url = picked.task.source, picked.task.notes, picked.task.url
        tip.external_id = picked.task.external_id
    return tip

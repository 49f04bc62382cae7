"""One decision: slate, mask, features, probabilities, the draw, and the tip that it serves."""

from __future__ import annotations

import numpy as np

from agents import candidates, eligibility, features, outcomes, why
from agents.candidates import Proposal
from agents.policies import POLICIES
from oo.v1 import decision_pb2, journal_pb2, policy_pb2, row_pb2
from tables import ids
from tables.zones import TZDATA_VERSION


def decide(
    row: row_pb2.UserRow,
    *,
    trigger: decision_pb2.Decision.Trigger.ValueType,
    record_id: bytes,
    journal: journal_pb2.Position,
    latency_ms: int,
    policy: policy_pb2.PolicyVersion,
    config_hash: str,
    step_version: int,
    mac_key: bytes,
) -> tuple[decision_pb2.Decision, decision_pb2.Tip]:
    """Chooses among what is there now, notes the choice in the row, and returns it with the tip to serve."""
    now_ms = row.now_ms
    calendar = candidates.calendar_at(row, now_ms=now_ms)
    slate = candidates.propose(row, calendar=calendar, now_ms=now_ms)
    masks = eligibility.reasons(row, slate, now_ms=now_ms)
    at = features.moment(row, calendar=calendar, now_ms=now_ms)
    vectors = [features.vector(proposal, at=at) for proposal in slate]

    eligible = [i for i, mask in enumerate(masks) if not mask]
    silent = next(n for n, i in enumerate(eligible) if slate[i].id == candidates.NONE_ID)
    x = np.array([vectors[i] for i in eligible], dtype=np.int64)
    key = ids.draw_key(row.user_id, record_id=record_id)
    choice = POLICIES[policy.policy].pmf(policy, x, silent=silent, key=key)
    place = {index: n for n, index in enumerate(eligible)}
    chosen = eligible[choice.chosen]
    picked = slate[chosen]

    decision_id = ids.decision_id(row.user_id, record_id=record_id, mac_key=mac_key)
    valid_ms = policy.config.none_valid_ms if _is_silent(picked) else policy.config.tip_valid_ms
    decision = decision_pb2.Decision(
        decision_id=decision_id,
        user_id=row.user_id,
        record_id=record_id,
        journal=journal,
        decided_ms=now_ms,
        valid_until_ms=min(now_ms + valid_ms, picked.until_ms),
        trigger=trigger,
        supersedes=ids.spelled(row.pending[-1].decision_id) if row.pending else "",
        policy=policy.policy,
        policy_version=policy.version_id,
        policy_sequence=policy.sequence,
        feature_version=features.VERSION,
        step_version=step_version,
        config_hash=config_hash,
        tzdata_version=TZDATA_VERSION,
        chosen=chosen,
        propensity=choice.propensity(choice.chosen),
        title=picked.title,
        prompt_version=picked.prompt_version,
        model=picked.model,
        latency_ms=latency_ms,
    )
    for index, proposal in enumerate(slate):
        candidate = decision.slate.add(id=proposal.id, kind=proposal.kind, ineligible=masks[index])
        candidate.x.extend(vectors[index])
        if index in place:
            n = place[index]
            candidate.propensity, candidate.draws_won = choice.propensity(n), choice.draws_won[n]
            candidate.score = choice.scores[n]
    pending = row_pb2.PendingDecision(
        decision_id=ids.packed(decision_id), decided_ms=now_ms, kind=picked.kind, feature_version=features.VERSION
    )
    if picked.task is not None:
        pending.task_key = ids.item_key(picked.task.source, picked.task.external_id)
    elif not _is_silent(picked):
        pending.candidate_id = picked.id
    if not _is_silent(picked):
        pending.x.extend(vectors[chosen])
    outcomes.remember(row, pending)
    row.current_candidate = picked.id
    row.current_valid_until_ms = decision.valid_until_ms
    return decision, _tip(row, picked, decision, why_lines=why.lines(row, picked, at=at))


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


def _is_silent(proposal: Proposal) -> bool:
    return proposal.id == candidates.NONE_ID


def _tip(
    row: row_pb2.UserRow, picked: Proposal, decision: decision_pb2.Decision, *, why_lines: list[str]
) -> decision_pb2.Tip:
    return decision_pb2.Tip(
        user_id=row.user_id,
        journal=decision.journal,
        decision_id="" if _is_silent(picked) else decision.decision_id,
        kind=picked.kind,
        title=picked.title,
        detail=picked.detail,
        source=picked.source,
        url=picked.url,
        why=why_lines,
        decided_ms=decision.decided_ms,
        valid_until_ms=decision.valid_until_ms,
        external_id=picked.task.external_id if picked.task is not None else "",
    )

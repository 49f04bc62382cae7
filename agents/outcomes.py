"""What becomes of decisions: seen, reacted to, expired, corrected; and what of it is learned, exactly once.

Works on the copy of the row that `step` hands through. A decision counts for learning only once it was seen.
"""

from __future__ import annotations

from agents import features
from agents.reward import reward_64
from oo.v1 import decision_pb2, outcome_pb2, policy_pb2, reaction_pb2, row_pb2
from streams.units import DAY_MS
from tables import backlog, ids, sums
from tables.sums import Predicted

PENDING_MAX = 16
"""Decisions that can still be learned from; a later reaction to an older one counts in the windows only."""
PENDING_MS = 7 * DAY_MS

KINDS: dict[int, outcome_pb2.Outcome.Kind.ValueType] = {
    reaction_pb2.Reaction.DONE: outcome_pb2.Outcome.DONE,
    reaction_pb2.Reaction.SNOOZE: outcome_pb2.Outcome.SNOOZE,
    reaction_pb2.Reaction.DISMISS: outcome_pb2.Outcome.DISMISS,
}

_EXPLICIT = frozenset(KINDS.values())


def find(row: row_pb2.UserRow, *, decision_id: str) -> row_pb2.PendingDecision | None:
    """The decision of that id, if the row still holds it."""
    raw = ids.packed(decision_id)
    return next((p for p in row.pending if p.decision_id == raw), None) if raw else None


def current(row: row_pb2.UserRow) -> row_pb2.PendingDecision | None:
    """The decision that is being served."""
    return row.pending[-1] if row.pending else None


def is_current(row: row_pb2.UserRow, pending: row_pb2.PendingDecision) -> bool:
    """True for the decision that is being served."""
    return pending.decision_id == row.pending[-1].decision_id


def without_outcome(row: row_pb2.UserRow) -> list[row_pb2.PendingDecision]:
    """The decisions that were seen and have no outcome yet."""
    return [p for p in row.pending if p.seen_ms and p.outcome == outcome_pb2.Outcome.KIND_UNSPECIFIED]


def see(row: row_pb2.UserRow, pending: row_pb2.PendingDecision | None, *, event_ms: int) -> list[outcome_pb2.Outcome]:
    """The client has displayed the tip. Saying it again, or of a decision that is gone, changes nothing."""
    if pending is None or pending.seen_ms or pending.kind == decision_pb2.Decision.NONE:
        return []
    _mark_seen(row, pending)
    return [_outcome(pending, kind=outcome_pb2.Outcome.SEEN, event_ms=event_ms)]


def react(
    row: row_pb2.UserRow,
    pending: row_pb2.PendingDecision | None,
    *,
    kind: outcome_pb2.Outcome.Kind.ValueType,
    event_ms: int,
    config: policy_pb2.DecisionConfig,
) -> list[outcome_pb2.Outcome] | None:
    """Takes an explicit reaction; None where it repeats one that stands, or would correct a second time.

    A reaction implies seen. One that follows `expired`, or another reaction, replaces it: what was learned is taken
    back and the new reward learned, once in a decision's life. A decision that the row no longer holds gives no
    outcome, and an empty list.
    """
    if pending is None:
        return []
    if pending.kind == decision_pb2.Decision.NONE or pending.outcome == kind or pending.corrected:
        return None
    corrects = pending.outcome
    pending.corrected = corrects != outcome_pb2.Outcome.KIND_UNSPECIFIED
    if not pending.seen_ms:
        _mark_seen(row, pending)
    return [_resolve(row, pending, kind=kind, corrects=corrects, event_ms=event_ms, config=config)]


def completed(
    row: row_pb2.UserRow, *, task_key: int, event_ms: int, config: policy_pb2.DecisionConfig
) -> list[outcome_pb2.Outcome]:
    """A task was completed elsewhere: for the latest decision on it, `done` if it was seen, else noted and not learned."""
    pending = next(
        (p for p in reversed(row.pending) if p.kind == decision_pb2.Decision.TASK and p.task_key == task_key), None
    )
    if pending is None or pending.corrected or pending.outcome in (*_EXPLICIT, outcome_pb2.Outcome.DONE_ELSEWHERE):
        return []
    if pending.seen_ms:
        corrects = pending.outcome
        pending.corrected = corrects != outcome_pb2.Outcome.KIND_UNSPECIFIED
        return [
            _resolve(row, pending, kind=outcome_pb2.Outcome.DONE, corrects=corrects, event_ms=event_ms, config=config)
        ]
    if not is_current(row, pending):
        return []
    pending.outcome = outcome_pb2.Outcome.DONE_ELSEWHERE
    return [_outcome(pending, kind=outcome_pb2.Outcome.DONE_ELSEWHERE, event_ms=event_ms)]


def expire(row: row_pb2.UserRow, *, now_ms: int, config: policy_pb2.DecisionConfig) -> list[outcome_pb2.Outcome]:
    """Closes what was seen and not reacted to inside the window, and drops what is too old to be corrected."""
    found = []
    for pending in without_outcome(row):
        due_ms = pending.seen_ms + config.reaction_window_ms
        if due_ms <= now_ms:
            found.append(
                _resolve(
                    row,
                    pending,
                    kind=outcome_pb2.Outcome.EXPIRED,
                    corrects=outcome_pb2.Outcome.KIND_UNSPECIFIED,
                    event_ms=due_ms,
                    config=config,
                )
            )
    # In the order of their decision: the oldest is the first, the one that is being served the last.
    while len(row.pending) > 1 and row.pending[0].decided_ms + PENDING_MS <= now_ms:
        del row.pending[0]
    return found


def drop_oldest(row: row_pb2.UserRow) -> None:
    """Past 16 decisions the oldest goes, one that nobody saw before one that somebody did; the newest stays."""
    if len(row.pending) > PENDING_MAX:
        unseen = (i for i, p in enumerate(row.pending[:-1]) if not p.seen_ms)
        del row.pending[next(unseen, 0)]


def _mark_seen(row: row_pb2.UserRow, pending: row_pb2.PendingDecision) -> None:
    # The row's time, not the client's: the reaction window runs on the clock that the ticks run on.
    pending.seen_ms = row.now_ms
    task = backlog.task_of_key(row, pending.task_key) if pending.kind == decision_pb2.Decision.TASK else None
    if task is not None:
        task.shown += 1


def _resolve(
    row: row_pb2.UserRow,
    pending: row_pb2.PendingDecision,
    *,
    kind: outcome_pb2.Outcome.Kind.ValueType,
    corrects: outcome_pb2.Outcome.Kind.ValueType,
    event_ms: int,
    config: policy_pb2.DecisionConfig,
) -> outcome_pb2.Outcome:
    reward = reward_64(kind, config=config) if pending.feature_version == features.VERSION else None
    taught = sums.read(row.sums, d=features.D, feature_version=features.VERSION)
    predicted = Predicted(pending.shared_prediction, pending.own_prediction, pending.known)
    if pending.HasField("learned_reward") and pending.feature_version == features.VERSION:
        sums.add(
            taught,
            x=pending.x,
            reward=pending.learned_reward,
            time_ms=pending.decided_ms,
            predicted=predicted,
            sign=-1,
        )
    if reward is not None:
        sums.add(taught, x=pending.x, reward=reward, time_ms=pending.decided_ms, predicted=predicted)
    row.sums.CopyFrom(sums.written(taught, feature_version=features.VERSION))
    pending.outcome = kind
    pending.ClearField("learned_reward")
    if reward is not None:
        pending.learned_reward = reward
    if pending.corrected:
        del pending.x[:]  # nothing can be learned of it any more
    outcome = _outcome(pending, kind=kind, event_ms=event_ms)
    outcome.corrects = corrects
    outcome.learned = reward is not None
    outcome.reward = (reward or 0) / sums.UNIT
    return outcome


def _outcome(
    pending: row_pb2.PendingDecision, *, kind: outcome_pb2.Outcome.Kind.ValueType, event_ms: int
) -> outcome_pb2.Outcome:
    return outcome_pb2.Outcome(decision_id=ids.spelled(pending.decision_id), kind=kind, event_time_ms=event_ms)

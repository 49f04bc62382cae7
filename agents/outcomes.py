"""What becomes of decisions: seen, reacted to, expired, corrected; and what of it is learned, exactly once.

Works on the copy of the row that `step` hands through. A decision counts for learning only once it was seen.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np

from agents import features
from agents.opened import Opened
from agents.reward import reward_64
from oo.v1 import decision_pb2, outcome_pb2, policy_pb2, reaction_pb2
from streams.units import DAY_MS
from tables import backlog, columns, ids, pending, sums
from tables.pending import Pending
from tables.sums import Predicted

PENDING_MS = 7 * DAY_MS

KINDS: dict[int, outcome_pb2.Outcome.Kind.ValueType] = {
    reaction_pb2.Reaction.DONE: outcome_pb2.Outcome.DONE,
    reaction_pb2.Reaction.SNOOZE: outcome_pb2.Outcome.SNOOZE,
    reaction_pb2.Reaction.DISMISS: outcome_pb2.Outcome.DISMISS,
}

_EXPLICIT = frozenset(KINDS.values())


class Current(NamedTuple):
    """The decision that is being served."""

    kind: int
    seen_ms: int
    task_key: int


def find(opened: Opened, *, decision_id: str) -> int | None:
    """The place of the decision of that id, if the row still holds it."""
    return opened.pending.find(ids.packed(decision_id))


def current(opened: Opened) -> Current | None:
    """The decision that is being served."""
    kept = opened.pending.columns
    return Current(*kept[pending.KIND : pending.TASK_KEY + 1, -1].tolist()) if kept.shape[1] else None


def is_current(opened: Opened, at: int) -> bool:
    """True for the decision that is being served."""
    return at == len(opened.pending) - 1


def see(opened: Opened, at: int | None, *, event_ms: int) -> list[outcome_pb2.Outcome]:
    """The client has displayed the tip. Saying it again, or of a decision that is gone, changes nothing."""
    held = opened.pending
    if at is None or held.get(pending.SEEN, at) or held.get(pending.KIND, at) == decision_pb2.Decision.NONE:
        return []
    _mark_seen(opened, at)
    return [_outcome(held, at, kind=outcome_pb2.Outcome.SEEN, event_ms=event_ms)]


def react(
    opened: Opened,
    at: int | None,
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
    if at is None:
        return []
    held = opened.pending
    corrects = _resolved(held, at)
    if held.get(pending.KIND, at) == decision_pb2.Decision.NONE or corrects == kind or held.get(pending.CORRECTED, at):
        return None
    held.set(pending.CORRECTED, at, corrects != outcome_pb2.Outcome.KIND_UNSPECIFIED)
    if not held.get(pending.SEEN, at):
        _mark_seen(opened, at)
    return [_resolve(opened, at, kind=kind, corrects=corrects, event_ms=event_ms, config=config)]


def completed(
    opened: Opened, *, task_key: int, event_ms: int, config: policy_pb2.DecisionConfig
) -> list[outcome_pb2.Outcome]:
    """A task was completed elsewhere: for the latest decision on it, `done` if it was seen, else noted and not learned."""
    held = opened.pending
    at = pending.latest_on(held.columns, columns.signed(task_key))
    if at < 0 or held.get(pending.CORRECTED, at):
        return []
    corrects = _resolved(held, at)
    if corrects in (*_EXPLICIT, outcome_pb2.Outcome.DONE_ELSEWHERE):
        return []
    if held.get(pending.SEEN, at):
        held.set(pending.CORRECTED, at, corrects != outcome_pb2.Outcome.KIND_UNSPECIFIED)
        return [
            _resolve(opened, at, kind=outcome_pb2.Outcome.DONE, corrects=corrects, event_ms=event_ms, config=config)
        ]
    if not is_current(opened, at):
        return []
    held.set(pending.OUTCOME, at, outcome_pb2.Outcome.DONE_ELSEWHERE)
    return [_outcome(held, at, kind=outcome_pb2.Outcome.DONE_ELSEWHERE, event_ms=event_ms)]


def expire(opened: Opened, *, now_ms: int, config: policy_pb2.DecisionConfig) -> list[outcome_pb2.Outcome]:
    """Closes what was seen and not reacted to inside the window, and drops what is too old to be corrected."""
    held, found = opened.pending, []
    while (at := pending.first_waiting(held.columns, now_ms - config.reaction_window_ms)) >= 0:
        found.append(
            _resolve(
                opened,
                at,
                kind=outcome_pb2.Outcome.EXPIRED,
                corrects=outcome_pb2.Outcome.KIND_UNSPECIFIED,
                event_ms=held.get(pending.SEEN, at) + config.reaction_window_ms,
                config=config,
            )
        )
    # In the order of their decision: the oldest is the first, the one that is being served the last.
    while held.columns.shape[1] > 1 and held.get(pending.DECIDED, 0) + PENDING_MS <= now_ms:
        held.drop(0)
    return found


def _resolved(held: Pending, at: int) -> outcome_pb2.Outcome.Kind.ValueType:
    return cast("outcome_pb2.Outcome.Kind.ValueType", held.get(pending.OUTCOME, at))


def _mark_seen(opened: Opened, at: int) -> None:
    held = opened.pending
    # The row's time, not the client's: the reaction window runs on the clock that the ticks run on.
    held.set(pending.SEEN, at, opened.row.now_ms)
    if held.get(pending.KIND, at) == decision_pb2.Decision.TASK:
        index = opened.backlog.index(held.get(pending.TASK_KEY, at))
        if index is not None:
            opened.backlog.add(backlog.SHOWN, index)


def _resolve(
    opened: Opened,
    at: int,
    *,
    kind: outcome_pb2.Outcome.Kind.ValueType,
    corrects: outcome_pb2.Outcome.Kind.ValueType,
    event_ms: int,
    config: policy_pb2.DecisionConfig,
) -> outcome_pb2.Outcome:
    held, taught = opened.pending, opened.taught
    ours = held.get(pending.FEATURES, at) in features.SPACES
    reward = reward_64(kind, config=config) if ours else None
    learned = [(held.get(pending.LEARNED, at), -1)] if ours and held.get(pending.HAS_LEARNED, at) else []
    if reward is not None:
        learned.append((reward, 1))
    for amount, sign in learned:
        sums.add(
            taught,
            x=np.ascontiguousarray(held.x(at)),
            reward=amount,
            time_ms=held.get(pending.DECIDED, at),
            predicted=Predicted(*held.columns[pending.SHARED : pending.KNOWN + 1, at].tolist()),
            sign=sign,
        )
        opened.learned = True
    held.set(pending.OUTCOME, at, kind)
    held.set(pending.HAS_LEARNED, at, reward is not None)
    held.set(pending.LEARNED, at, reward or 0)
    if held.get(pending.CORRECTED, at):
        held.forget(at)
    outcome = _outcome(held, at, kind=kind, event_ms=event_ms)
    outcome.corrects = corrects
    outcome.learned = reward is not None
    outcome.reward = (reward or 0) / sums.UNIT
    return outcome


def _outcome(held: Pending, at: int, *, kind: outcome_pb2.Outcome.Kind.ValueType, event_ms: int) -> outcome_pb2.Outcome:
    return outcome_pb2.Outcome(decision_id=ids.spelled(held.id(at)), kind=kind, event_time_ms=event_ms)

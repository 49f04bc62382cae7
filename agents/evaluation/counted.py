"""What a decision counts in an evaluation, whatever became of it. It never leaves one out.

Learning drops what nobody reacted to; an evaluation that did would flatter whoever is ignored most.
"""

from __future__ import annotations

from agents.evaluation.event import Range
from oo.v1 import decision_pb2, outcome_pb2, policy_pb2

UNIT = 64
"""Rewards are configured in units of 1/64."""


def reward(
    tip: decision_pb2.Decision.TipKind.ValueType,
    outcome: outcome_pb2.Outcome.Kind.ValueType,
    *,
    config: policy_pb2.DecisionConfig,
) -> float:
    """Return what it earned less what it cost to interrupt.

    "No tip" is worth 0; so is a tip that nobody saw (`KIND_UNSPECIFIED`, `DONE_ELSEWHERE`): it neither helped nor
    interrupted. What was seen and not answered (`EXPIRED`, or `SEEN` when the window ended with the log) counts
    `reward_expired`, learned from or not.

    >>> from agents.reward import DEFAULT
    >>> T, O = decision_pb2.Decision, outcome_pb2.Outcome
    >>> [reward(T.TASK, one, config=DEFAULT) for one in (O.DONE, O.EXPIRED, O.KIND_UNSPECIFIED)]
    [0.953125, -0.046875, 0.0]
    >>> reward(T.NONE, O.KIND_UNSPECIFIED, config=DEFAULT)
    0.0
    """
    if tip == decision_pb2.Decision.NONE:
        return 0.0
    seen = {
        outcome_pb2.Outcome.DONE: config.reward_done,
        outcome_pb2.Outcome.SNOOZE: config.reward_snooze,
        outcome_pb2.Outcome.DISMISS: config.reward_dismiss,
        outcome_pb2.Outcome.EXPIRED: config.reward_expired,
        outcome_pb2.Outcome.SEEN: config.reward_expired,
    }
    return (seen[outcome] - config.interruption_cost) / UNIT if outcome in seen else 0.0


def reward_range(config: policy_pb2.DecisionConfig) -> Range:
    """Return the least and the greatest that `reward` can return.

    >>> from agents.reward import DEFAULT
    >>> reward_range(DEFAULT)
    Range(low=-0.296875, high=0.953125)
    """
    worth = (config.reward_done, config.reward_snooze, config.reward_dismiss, config.reward_expired)
    return Range(
        min(0, *(one - config.interruption_cost for one in worth)) / UNIT,
        max(0, *(one - config.interruption_cost for one in worth)) / UNIT,
    )

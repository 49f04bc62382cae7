"""Every decision counts, whatever became of it."""

from __future__ import annotations

import pytest

from agents.evaluation.counted import reward, reward_range
from agents.reward import DEFAULT, reward_64
from oo.v1 import decision_pb2, outcome_pb2
from tests.agents.build import config

KINDS = outcome_pb2.Outcome.Kind.values()
TIPS = decision_pb2.Decision.TipKind.values()


@pytest.mark.parametrize("tip", TIPS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_outcome_counts_within_the_range(tip, kind):
    low, high = reward_range(DEFAULT).low, reward_range(DEFAULT).high
    assert low <= reward(tip, kind, config=DEFAULT) <= high


def test_what_nobody_answered_counts_though_it_is_not_learned_from():
    strict = config(reward_expired=-8, learn_expired=False)
    assert reward_64(outcome_pb2.Outcome.EXPIRED, config=strict) is None
    assert reward(decision_pb2.Decision.TASK, outcome_pb2.Outcome.EXPIRED, config=strict) == -11 / 64


def test_a_tip_that_nobody_saw_neither_earned_nor_cost():
    assert reward(decision_pb2.Decision.TASK, outcome_pb2.Outcome.KIND_UNSPECIFIED, config=DEFAULT) == 0


def test_saying_nothing_is_worth_nothing():
    assert {reward(decision_pb2.Decision.NONE, kind, config=DEFAULT) for kind in KINDS} == {0.0}

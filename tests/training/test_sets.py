"""A training set: what it takes from a fold, and how it is parted."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from simulated import followed, simulated_set

from agents.features import FIRST, PLACE
from agents.features import D as WHOLE
from agents.reward import DEFAULT
from oo.v1 import outcome_pb2
from streams.units import DAY_MS, HOUR_MS
from tables import slates
from training.sets import Collector, D, TrainingSet, joined, split


def taken(*, start: int = 0, end: int = sys.maxsize, wait_ms: int = 4 * HOUR_MS, leaving: str = "") -> TrainingSet:
    collector = Collector(0, start=start, end=end)
    for entry, outputs in followed():
        collector.take(entry.offset, entry.time_ms, outputs.decision, outputs.outcomes)
    return collector.done(wait_ms=wait_ms, may_teach=lambda user: user != leaving)


def test_every_vector_is_the_one_that_the_decision_was_made_with_and_every_reward_is_what_came_of_it() -> None:
    some = simulated_set()
    decided = {entry.offset: outputs.decision for entry, outputs in followed() if outputs.decision is not None}
    became = dict[str, int]()
    for _, outputs in followed():
        for one in outputs.outcomes:
            if one.kind != outcome_pb2.Outcome.SEEN or one.decision_id not in became:
                became[one.decision_id] = one.kind
    for at in range(len(some)):
        decision = decided[int(some.offset[at])]
        slate = slates.eligible(decision)
        mine = some.x[some.starts[at] : some.starts[at + 1]].astype(int)
        wide = min(slate.x.shape[1], D)
        expected = slate.x[:, :wide].copy()
        if slate.x.shape[1] == FIRST.d:
            expected[:, PLACE["prompt"]] = 0  # It meant something else before the first version.
        assert (mine[:, :wide] == expected).all() and not mine[:, wide:].any()
        assert some.became[at] == became.get(decision.decision_id, 0)
        assert some.action[at] == slate.places.index(decision.chosen)
    assert set(some.rewards(DEFAULT)[some.teaches]) == {1.0, 0.125, -0.25, 0.0}
    assert WHOLE == D  # A model's own word is no feature of it.


def test_a_range_takes_its_own_decisions_alone_and_knows_nothing_of_what_came_behind_it() -> None:
    whole = simulated_set()
    low, high = int(whole.offset[len(whole) // 4]), int(whole.offset[len(whole) // 2])
    some = taken(start=low, end=high)
    assert len(some) > 100
    assert some.offset.min() >= low and some.offset.max() < high
    last = max(entry.time_ms for entry, _ in followed() if entry.offset < high)
    assert some.decided_ms.max() <= last - 4 * HOUR_MS
    heard = {
        one.decision_id
        for entry, outputs in followed()
        if entry.offset < high
        for one in outputs.outcomes
        if one.kind != outcome_pb2.Outcome.SEEN
    }
    ids = {entry.offset: outputs.decision.decision_id for entry, outputs in followed() if outputs.decision}
    resolved = ~np.isin(some.became, [0, outcome_pb2.Outcome.SEEN])
    assert resolved.any()
    assert {ids[int(one)] for one in some.offset[resolved]} <= heard


def test_who_may_not_teach_is_in_no_row() -> None:
    whole, user = simulated_set(), "sim-3"
    of_theirs = {entry.offset for entry, outputs in followed() if outputs.decision and entry.user_id == user}
    assert of_theirs & set(whole.offset.tolist())
    assert not of_theirs & set(taken(leaving=user).offset.tolist())


def test_partitions_are_joined_in_the_order_of_time_with_each_decision_beside_its_candidates() -> None:
    whole = simulated_set()
    half = int(np.median(whole.offset))
    some = joined([taken(start=half), taken(end=half, wait_ms=0)])
    assert (np.diff(some.decided_ms) >= 0).all()
    where = {int(one): at for at, one in enumerate(some.offset)}
    for at in range(0, len(whole), 7):
        if (there := where.get(int(whole.offset[at]))) is not None:
            mine = some.x[some.starts[there] : some.starts[there + 1]]
            assert (mine == whole.x[whole.starts[at] : whole.starts[at + 1]]).all()


def test_no_person_and_no_time_is_on_both_sides() -> None:
    some = simulated_set()
    parts = split(some)
    fit, judged = set(some.person[parts.fit]), set(some.person[parts.new])
    assert fit and judged and not fit & judged
    assert not fit & set(some.person[parts.calibrate]) and not judged & set(some.person[parts.calibrate])
    assert some.decided_ms[parts.fit].max() < parts.parted_ms <= some.decided_ms[parts.later].min()
    assert not (parts.fit & parts.later).any() and (parts.new <= parts.later).all()


def test_the_same_journal_gives_the_same_fingerprint_and_another_range_another_one() -> None:
    assert taken().fingerprint() == simulated_set().fingerprint() != taken(start=50).fingerprint()


def test_nothing_that_teaches_is_said() -> None:
    nothing = taken(wait_ms=400 * DAY_MS)
    assert len(nothing) == 0
    with pytest.raises(ValueError, match="nobody has seen a tip"):
        split(nothing)

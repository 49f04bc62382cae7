"""A simulation in which a model is heard from a day on."""

from __future__ import annotations

import numpy as np

from agents.policies import mixed_hearing
from deploy.simulator.pure import Later, simulate
from deploy.simulator.scenario import load
from deploy.simulator.scorer import Scorer
from oo.v1 import decision_pb2


def lived(*, half: bool, later: bool) -> list[tuple[int, decision_pb2.Decision | None]]:
    found = list[tuple[int, decision_pb2.Decision | None]]()
    scorer = Scorer("tips@1", lambda _, x: np.full(len(x), 0.5 if half else 0.25, np.float32))
    run = simulate(
        load("base"),
        users=6,
        days=4.0,
        seed=3,
        policy="mixed",
        later=Later(2.0, mixed_hearing.NAME, scorer) if later else None,
        hear=lambda entry, outputs: found.append((entry.time_ms, outputs.decision)),
    )
    assert not run.faults
    return found


def test_from_its_day_on_the_other_policy_decides_and_many_slates_hear_the_model_and_before_all_is_as_it_was():
    found = [one for _, one in lived(half=True, later=True) if one is not None]
    at = next(index for index, one in enumerate(found) if one.policy == mixed_hearing.NAME)
    before = [one for _, one in lived(half=True, later=False) if one is not None]
    assert found[:at] == before[:at]
    after = found[at:]
    assert {one.policy for one in after} == {mixed_hearing.NAME}
    heard = [one for one in after if one.scored_by and not one.deaf]
    assert {one.scored_by for one in heard} == {"tips@1"}
    assert len(heard) > len(after) / 3
    assert any(one.deaf for one in after)


def test_what_the_model_says_changes_decisions():
    assert lived(half=True, later=True) != lived(half=False, later=True)

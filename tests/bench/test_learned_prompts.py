"""The table of written tips tells its arms apart, and a lead from luck."""

from __future__ import annotations

import numpy as np
import pytest

from bench.decisions import prompts
from bench.decisions.prompts import BLIND, JOINT, VARIANTS, Found, arms


def test_each_arm_asks_what_its_name_says():
    found = {name: (list(variants), list(blind)) for name, variants, blind in arms()}
    every = list(VARIANTS)
    assert found[JOINT] == (every, [])
    asked, real = found[BLIND]
    assert real == every
    assert len(asked) == 1
    fixed = [found[name] for name in found if name not in (JOINT, BLIND)]
    assert fixed == [([one], []) for one in every]


@pytest.mark.parametrize(("lead", "met"), [(0.1, True), (0.0, False)])
def test_a_lead_is_told_from_luck(lead, met):
    chance = np.random.default_rng(1)

    def runs(extra: float) -> list[Found]:
        return [Found(0.3 + extra + float(luck), 8.0, 0.4) for luck in chance.normal(0.0, 0.02, 10)]

    found = {name: runs(lead if name == JOINT else 0.0) for name, _, _ in arms()}
    rows = {row.peer_name: row for row in prompts._rows(found)}
    assert rows[BLIND].met is met
    assert "ahead on" in rows[BLIND].what
    assert len(rows) == 4

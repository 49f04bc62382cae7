"""What a slate kept out is counted without spelling it out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from oo.v1 import decision_pb2
from tables import slates


def packed(reasons: list[int]) -> decision_pb2.Decision:
    block = np.zeros((slates.X + 3, len(reasons)), dtype=np.int64)
    block[slates.KIND] = decision_pb2.Decision.TASK
    block[slates.OUT] = reasons
    decision = decision_pb2.Decision()
    slates.pack(decision.packed, block, heads=["task:"], ids=[str(at) for at in range(len(reasons))], denominator=8)
    return decision


@pytest.mark.parametrize("reasons", [[], [0], [0, 1, 3, 3, 1 << 13], [5] * 40])
def test_each_reason_counts_the_candidates_that_it_kept_out(reasons: list[int]) -> None:
    decision = packed(reasons)
    spelled = decision_pb2.Decision(slate=slates.spelled_out(decision))
    told = Counter(name for one in spelled.slate for name in one.ineligible)
    assert slates.masked(decision) == slates.masked(spelled) == told

"""What a slate kept out is counted, and what it says of its candidates told, without spelling it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from oo.v1 import decision_pb2, row_pb2
from tables import backlog, columns, slates


def packed(reasons: list[int]) -> decision_pb2.Decision:
    block = np.zeros((slates.X + 3, len(reasons)), dtype=np.int64)
    block[slates.KIND] = decision_pb2.Decision.TASK
    block[slates.OUT] = reasons
    decision = decision_pb2.Decision()
    ids = [str(at) for at in range(len(reasons))]
    decision.packed.MergeFrom(
        decision_pb2.PackedSlate(heads=["task:"], ids=ids, columns=columns.packed(block), denominator=8)
    )
    return decision


@pytest.mark.parametrize("reasons", [[], [0], [0, 1, 3, 3, 1 << 13], [5] * 40])
def test_each_reason_counts_the_candidates_that_it_kept_out(reasons: list[int]) -> None:
    decision = packed(reasons)
    spelled = decision_pb2.Decision(slate=slates.spelled_out(decision))
    told = Counter(name for one in spelled.slate for name in one.ineligible)
    assert slates.masked(decision) == slates.masked(spelled) == told


@pytest.mark.parametrize("scripts", [("a", "b#1"), ("é", "日本", "👩‍🌾", "a", "ß"), ("x" * 200, "я" * 200)])
def test_a_slate_is_packed_as_its_message_has_it_whatever_people_write(scripts: Sequence[str]) -> None:
    row = row_pb2.UserRow()
    row.tasks.extend(
        row_pb2.Task(source=f"s{at % 2}", external_id=f"{one}{at}", title=one, notes=one * 2, labels=[one])
        for at, one in enumerate(scripts * 3)
    )
    items, others = backlog.read(row), ["none", "generated:日"]
    tasks = np.arange(1, items.tasks.shape[1], 2)
    k = len(others) + len(tasks)
    block, eligible = np.arange((slates.X + 2) * k).reshape(-1, k), np.array([0, k - 1])
    shares, scored = np.array([[3, 5], [1, 7]]), np.array([[0.5, -1.0], [0.0, 0.0], [0.0, 0.0]])
    found = decision_pb2.PackedSlate()
    slates.pack(
        found, block, eligible, shares=shares, scored=scored, denominator=8, others=others, items=items, tasks=tasks
    )
    assert block[[slates.WON, slates.NUMERATOR, slates.SCORE]][:, eligible].tolist() == [
        [3, 5],
        [1, 7],
        [1 << 19, -(1 << 20)],
    ]
    assert found == decision_pb2.PackedSlate(
        heads=["", "task:s0/", "task:s1/"],
        ids=[*others, *(items.task(at).external_id for at in tasks)],
        columns=columns.packed(block),
        denominator=8,
    )


def told_as_spelled_out(decision: decision_pb2.Decision) -> slates.Told | None:
    """None where either refuses the slate."""
    try:
        there = slates.spelled_out(decision)
    except ValueError:
        with pytest.raises(ValueError, match="not a slate"):
            slates.told(decision)
        return None
    told = slates.told(decision)
    assert told == slates.Told(
        kinds=[one.kind for one in there],
        eligible=[not one.ineligible for one in there],
        propensities=[one.propensity for one in there],
        scores=[one.score for one in there],
        written_by=[(one.prompt_version, one.model) for one in there],
    )
    return told


LEAST, MOST = -(1 << 31), (1 << 32) - 1
BOUNDS = [LEAST - 1, LEAST, -1, 0, MOST >> 1, (MOST >> 1) + 1, MOST, MOST + 1, 1 << 62]


@pytest.mark.parametrize("many", [0, 1, 4])
@pytest.mark.parametrize("row", range(slates.KIND, slates.X + 2))
def test_what_is_told_of_candidates_is_what_is_spelled_out(many: int, row: int) -> None:
    refused = 0
    for number in BOUNDS:
        decision = packed([0, 1, 1 << 40, 5][:many])
        slates.note_writers(decision.packed, [(1, slates.Writer("p@1", "m", 1, 2))] if many > 1 else [])
        block = columns.unpacked(decision.packed.columns)
        block[row, many // 2 :] = number
        decision.packed.columns = columns.packed(block)
        refused += told_as_spelled_out(decision) is None
        decision.packed.writers.add(places=[many])
        assert told_as_spelled_out(decision) is None
    whole = row in (slates.OUT, slates.NUMERATOR, slates.SCORE)
    assert refused == (0 if whole or not many else 5)


def test_a_slate_of_before_is_told_as_it_is() -> None:
    decision = packed([0, 3])
    plain = decision_pb2.Decision(slate=slates.spelled_out(decision))
    plain.slate[1].prompt_version = "p@1"
    assert told_as_spelled_out(plain) != told_as_spelled_out(decision)

"""Decisions that a person can still react to, as a row keeps them."""

from collections.abc import Sequence

import numpy as np
import pytest

from oo.v1 import decision_pb2, row_pb2
from tables import pending
from tables.pending import Pending


def kept(d: int) -> row_pb2.UserRow:
    """A row with one decision of d features, on a starter tip."""
    held, row = Pending(np.zeros((pending.X + d, 0), dtype=np.int64), []), row_pb2.UserRow()
    head = [0] * 14
    head[pending.DECIDED], head[pending.KIND], head[pending.FEATURES] = 7, int(decision_pb2.Decision.STARTER), 1
    held.add(head, raw_id=bytes(range(20)), name="starter:tidy", x=np.full(d, 64))
    pending.write(held, row)
    return row


@pytest.mark.parametrize("d", [2, 4])
def test_a_decision_made_with_other_features_can_be_reacted_to_and_teaches_nothing(d: int) -> None:
    held = pending.read(kept(3), d=d)
    assert held.find(bytes(range(20))) == 0
    assert (held.get(pending.DECIDED, 0), held.get(pending.FEATURES, 0), held.name(0)) == (7, 1, "starter:tidy")
    assert held.x(0).tolist() == [0] * d


def test_no_decisions_are_no_bytes() -> None:
    assert len(pending.read(row_pb2.UserRow(), d=3)) == 0


@pytest.mark.parametrize(("seen", "gone"), [((), 0), ((0, 1, 3), 2), (range(pending.MOST), 0)])
def test_past_the_most_the_oldest_that_nobody_saw_makes_room(seen: Sequence[int], gone: int) -> None:
    held, starter = Pending(np.zeros((pending.X + 2, 0), dtype=np.int64), []), int(decision_pb2.Decision.STARTER)
    for at in range(pending.MOST + 1):
        head = [at, starter, int(at in seen), *[0] * 11]
        held.add(head, raw_id=bytes([at] * 20), name=f"starter:{at}", x=np.full(2, at))
    left = [at for at in range(pending.MOST + 1) if at != gone]
    assert held.columns[pending.DECIDED].tolist() == held.columns[pending.X].tolist() == left
    assert [held.id(at)[0] for at in range(len(held))] == left
    assert held.names == [held.name(at) for at in range(len(held))] == [f"starter:{at}" for at in left]


def test_a_block_that_is_none_of_decisions_is_refused() -> None:
    row = kept(3)
    for torn in (row.pending_columns[:-1], b"\x01\x01\x00\x00"):
        row.pending_columns = torn
        with pytest.raises(ValueError, match="not a"):
            pending.read(row, d=3)

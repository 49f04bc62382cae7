"""Decisions that a person can still react to, as a row keeps them."""

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


def test_a_block_that_is_none_of_decisions_is_refused() -> None:
    row = kept(3)
    for torn in (row.pending_columns[:-1], b"\x01\x01\x00\x00"):
        row.pending_columns = torn
        with pytest.raises(ValueError, match="not a"):
            pending.read(row, d=3)

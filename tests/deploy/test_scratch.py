"""A fold's rows, some in memory and the others on a disk: what is asked of them does not tell where they are."""

from __future__ import annotations

import random

import pytest

from deploy.scratch import Rows, scratch
from tables.row import FENCE_BYTES


@pytest.mark.parametrize("held_bytes_max", [0, 20_000, 1 << 30])
def test_rows_are_the_same_wherever_they_are(held_bytes_max: int) -> None:
    chance, mine = random.Random(0), dict[str, bytes]()
    with scratch() as made:
        rows = Rows(made, held_bytes_max=held_bytes_max)
        for _ in range(200):
            some = {f"user-{chance.randrange(100)}": chance.randbytes(chance.randrange(40, 2_000)) for _ in range(9)}
            mine |= some
            rows.update(some)
            user = f"user-{chance.randrange(100)}"
            assert rows.get(user) == mine.get(user)
        assert sorted(rows.fences()) == sorted((user, row[:FENCE_BYTES]) for user, row in mine.items())
        assert list(rows.items()) == sorted(mine.items())
        assert [rows.get(user) for user in mine] == list(mine.values())

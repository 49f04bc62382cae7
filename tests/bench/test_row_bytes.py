"""A row is written at every change of it, so its bytes are a budget: a field more shows here."""

from __future__ import annotations

import pytest

from bench.lives import LIVES
from bench.row_bytes import live, parts
from tables.row import spelled_out

# What is measured today and a little above; a change that is meant moves the bound and docs/adr/0013.
BOUNDS = {"light": 2_800, "typical": 7_500}


@pytest.mark.parametrize("life", BOUNDS)
def test_a_persons_row_stays_within_its_bytes(life: str) -> None:
    row = live(LIVES[life])
    said = spelled_out(row)
    assert (len(said.tasks), len(said.events)) == (LIVES[life].tasks, LIVES[life].events)
    assert row.ByteSize() <= BOUNDS[life], parts(row)


def test_the_parts_of_a_row_add_up_to_it() -> None:
    row = live(LIVES["light"])
    assert sum(parts(row).values()) == row.ByteSize()

from __future__ import annotations

from pathlib import Path

import pytest

from bench.builds import build, in_turns
from bench.measured import step_parts
from bench.result import Bench
from bench.step_cost import BUDGET_US


def test_a_program_answers_each_turn_whatever_else_it_prints(tmp_path: Path) -> None:
    found = in_turns(Bench(tmp_path), "tests.bench.counting", "9", turns=3, alone=True)
    assert found == {"now": [{"turn": 1}, {"turn": 2}, {"turn": 3}]}


def test_a_program_that_ends_before_its_answer_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="that is enough"):
        in_turns(Bench(tmp_path), "tests.bench.counting", "2", turns=3, alone=True)


def test_a_commit_that_is_not_here_is_told() -> None:
    with pytest.raises(SystemExit, match="no commit 0123456789 here"):
        build("0123456789", say=print)


def test_every_part_of_the_budget_takes_time_where_it_is_looked_for(tmp_path: Path) -> None:
    (parts,) = in_turns(Bench(tmp_path), step_parts.__name__, turns=1, alone=True)["now"]
    assert all(parts[f"typical: {part}"] > 0 for part in BUDGET_US), parts

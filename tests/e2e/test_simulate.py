"""Simulated people against a whole stack, and what that leaves behind."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from command import called, oo
from outside import eventually, known, letters, settled, state_of

from deploy.stack.running import RunningStack


def simulate(stack: RunningStack, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(called("simulate", "--json", "--users=12", state_of(stack), *arguments).stdout)
    return found


def test_people_get_tips_react_to_them_and_leave_no_difference_and_no_letter(stack: RunningStack) -> None:
    # Twenty-four seconds are a day.
    day = ("--minutes=0.4", "--speed=3600", f"--run={uuid.uuid4().hex[:8]}")
    found = json.loads(oo("simulate", "--json", "--users=12", state_of(stack), *day).stdout)
    assert found["signals"] >= 12 * 6  # each tells of a time zone and five tasks at least
    assert found["tips"] >= 12
    assert found["seen"] > 0
    assert found["reactions"] > 0
    assert found["curve"]
    settled(stack)
    assert not [one for one in letters(stack) if "sim-" in json.dumps(one)]


@pytest.mark.long(
    "tests/deploy/test_simulate_command.py::test_a_pure_run_tells_what_came_of_it_the_same_twice_and_writes_it",
    "tests/e2e/test_loop.py::test_importing_again_changes_nothing",
)
def test_a_run_of_the_same_name_and_seed_sends_duplicates_that_change_nothing(
    stack: RunningStack, tmp_path: Path
) -> None:
    idle = tmp_path / "idle.toml"
    idle.write_text("tasks_at_first = 8\ntasks_per_day = 0\nevents_per_day = 0\njoining_days = 0\n")
    run = uuid.uuid4().hex[:8]

    def rows() -> set[str]:
        row = known(stack, f"sim-{run}-0")
        return {f"{one['external_id']} {one['updated_ms']}" for one in row["tasks"]}

    again = (f"--run={run}", f"--scenario={idle}", "--minutes=0.1", "--speed=1")
    simulate(stack, *again)
    before = eventually(rows, lambda found: len(found) > 5)
    assert simulate(stack, *again)["signals"] >= 12 * 9
    settled(stack)
    assert rows() <= before
    # Under another name they are other people, of whom nobody has heard.
    simulate(stack, f"--run={run}b", *again[1:])
    assert eventually(lambda: len(known(stack, f"sim-{run}b-0")["tasks"])) > 5


@pytest.mark.long(
    "tests/deploy/test_simulate_command.py::test_with_a_rate_lives_are_long_enough_to_have_that_many_signals"
)
def test_a_rate_brings_more_signals_than_people_would_send_by_themselves(stack: RunningStack) -> None:
    found = simulate(stack, "--minutes=0.2", "--speed=0.1", "--rate=20")
    assert 12 * 6 < found["signals"] <= 12 * 20 + 1

"""What the supervisor does when a part ends by itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.stack.processes import Command
from deploy.stack.state import StateFolder
from deploy.stack.supervisor import Chore, Part, StackError, Supervisor
from streams.watchdog import EXIT_NAME_LOST


def part(name: str, script: str, *, folder: Path) -> Part:
    async def ready() -> bool:
        return (folder / name).exists()

    return Part(name, lambda: Command(argv=(sys.executable, "-c", script), cwd=folder), ready)


def run(folder: Path, *parts: Part, until: Callable[[list[str]], bool], chores: Sequence[Chore] = ()) -> list[str]:
    """What was told until it was enough."""
    told: list[str] = []
    state = StateFolder(folder)
    state.create()

    async def scenario() -> None:
        supervisor = Supervisor(
            state, parts, [], facts={}, told=lambda name, what: told.append(f"{name}: {what}"), chores=chores
        )
        running = asyncio.create_task(supervisor.run(when_ready=lambda: None))
        while not until(told) and not running.done():
            await asyncio.sleep(0.02)
        supervisor.stop()
        await running

    asyncio.run(scenario())
    return told


def test_a_part_that_lost_its_name_is_not_started_again(tmp_path: Path) -> None:
    steady = part("steady", "import pathlib, time; pathlib.Path('steady').touch(); time.sleep(3600)", folder=tmp_path)
    script = (
        "import os, pathlib, sys, time; os.write(os.open('starts', os.O_CREAT | os.O_APPEND | os.O_WRONLY), b'x');"
        f"pathlib.Path('loser').touch(); time.sleep(1); sys.exit({EXIT_NAME_LOST})"
    )
    loser = part("loser", script, folder=tmp_path)
    told = run(tmp_path, steady, loser, until=lambda told: any("not started again" in line for line in told))
    assert (tmp_path / "starts").read_text() == "x"
    assert not [line for line in told if "starts again" in line]
    assert told[-1] in ("steady: stopped", "loser: stopped")


def test_a_part_that_never_had_its_name_fails_the_start(tmp_path: Path) -> None:
    loser = part("loser", f"import sys; sys.exit({EXIT_NAME_LOST})", folder=tmp_path)
    with pytest.raises(StackError, match="lost its name"):
        run(tmp_path, loser, until=lambda _: False)


def test_a_part_that_dies_is_started_again_at_once_and_then_ever_later(tmp_path: Path) -> None:
    dying = part("dying", "import pathlib, time; pathlib.Path('dying').touch(); time.sleep(0.2)", folder=tmp_path)
    told = run(tmp_path, dying, until=lambda told: sum("starts again" in line for line in told) == 3)
    again = [line.rpartition("starts again ")[2] for line in told if "starts again" in line]
    assert again[0] == "at once"
    assert 0.25 <= float(again[1].split()[1]) <= 0.5 <= float(again[2].split()[1]) <= 1.0


def test_a_part_that_takes_long_to_start_is_told_of_while_it_does(tmp_path: Path) -> None:
    script = "import pathlib, time; time.sleep(1); pathlib.Path('slow').touch(); time.sleep(3600)"
    slow = replace(part("slow", script, folder=tmp_path), says_every_s=0.2)
    told = run(tmp_path, slow, until=lambda told: "slow: ready" in told)
    assert told[0].startswith("slow: starts, ") and told[0].endswith(" s so far, at most 60 s")
    assert "slow: ready" in told


def test_a_chore_that_fails_is_said_and_done_again_and_the_parts_go_on(tmp_path: Path) -> None:
    steady = part("steady", "import pathlib, time; pathlib.Path('steady').touch(); time.sleep(3600)", folder=tmp_path)
    script = "import sys; sys.exit('no good')"
    told = run(
        tmp_path,
        steady,
        chores=[Chore("sweep", Command(argv=(sys.executable, "-c", script), cwd=tmp_path), 0.05, 0.05, 60.0)],
        until=lambda told: len([line for line in told if line.startswith("sweep: failed: no good")]) >= 2,
    )
    assert told[-1] == "steady: stopped"
    assert not [line for line in told if "starts again" in line]


def test_a_chore_that_does_not_end_in_time_is_ended(tmp_path: Path) -> None:
    steady = part("steady", "import pathlib, time; pathlib.Path('steady').touch(); time.sleep(3600)", folder=tmp_path)
    slow = Command(argv=(sys.executable, "-c", "import time; time.sleep(3600)"), cwd=tmp_path)
    told = run(
        tmp_path,
        steady,
        chores=[Chore("sweep", slow, 0.05, 0.05, 0.2)],
        until=lambda told: any(line.startswith("sweep: did not end within") for line in told),
    )
    assert told[-1] == "steady: stopped"

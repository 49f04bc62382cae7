"""docs/console.md answers a stranger's questions by commands that there are, with options that they take."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from deploy.cli import COMMANDS, load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "console.md"
QUESTIONS = re.findall(r"^\| (.+\?) \| (.+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
SAID = [command for _, _, how in QUESTIONS for command in re.findall(r"`(oo [^`]+)`", how)]


def faults(said: str) -> list[str]:
    """What of a command line there is not."""
    _, name, *words = shlex.split(said)
    if name not in COMMANDS:
        return [name]
    loaded: Any = load(name)
    command: Any = loaded if hasattr(loaded, "params") else get_command(loaded)
    if words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    elif words and not words[0].startswith("-") and getattr(command, "commands", {}):
        return [f"{name} {words[0]}"]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]


def test_ten_questions_are_answered_on_the_page_and_on_the_command_line() -> None:
    assert len(QUESTIONS) == 10
    assert all("`oo " in how and where.strip() for _, where, how in QUESTIONS)


@pytest.mark.parametrize("said", SAID)
def test_each_command_is_there_and_takes_what_it_is_given(said: str) -> None:
    assert faults(said) == []


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ("oo guess", ["guess"]),
        ("oo replay forget x", ["replay forget"]),
        ("oo explain --who ada", ["--who"]),
        ("oo replay diff x --fast", ["--fast"]),
    ],
)
def test_what_is_not_there_is_found(said: str, missing: list[str]) -> None:
    assert faults(said) == missing

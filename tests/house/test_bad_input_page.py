"""docs/bad-input.md says what the code does."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from contracts import limits
from streams.wire import Reason

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = limits.PAGE.read_text(encoding="utf-8")
REASONS = set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, flags=re.MULTILINE))
BOUNDS = re.findall(r"^\| [^|]+ \| ([\d,]+)[^|]* \| `([\w.]+)` \|", PAGE, flags=re.MULTILINE)


def reasons_in(source: str) -> set[str]:
    """Fixed words that the code gives to Refused, Refusal, Overflow, Breach: first, second or `reason` argument."""
    found = set()
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in {
            "Refused",
            "Refusal",
            "Overflow",
            "BadFrame",
            "Breach",
        }:
            given = [*call.args[:2], *(one.value for one in call.keywords if one.arg == "reason")]
            words = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            found |= {word for word in words if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)}
    return found


def test_the_table_of_fields_is_what_the_contracts_say():
    assert limits.BEGIN + limits.table() + limits.END in PAGE


@pytest.mark.parametrize("message", limits.PUBLIC, ids=lambda message: message.name)
def test_every_text_and_list_of_a_public_message_has_a_maximum(message):
    assert limits.unbounded(message) == []


def test_every_reason_of_a_dead_letter_is_on_the_page_and_every_reason_on_the_page_is_given():
    given = set(get_args(Reason))
    for room in ("streams", "tables", "agents"):
        for path in (ROOT / room).rglob("*.py"):
            given |= reasons_in(path.read_text(encoding="utf-8"))
    assert given == REASONS


def test_a_new_reason_would_be_found():
    assert reasons_in('Refused("too-odd", "Say it.")\nRefusal(record, "odd-two", "x")') == {"too-odd", "odd-two"}


@pytest.mark.parametrize(("number", "name"), BOUNDS, ids=lambda value: value)
def test_a_bound_on_the_page_is_the_codes(number, name):
    module, _, constant = name.rpartition(".")
    assert getattr(import_module(module), constant) == int(number.replace(",", ""))


def test_every_row_of_the_table_of_bounds_is_checked():
    rows = PAGE[PAGE.index("## The most of everything") :].count("\n| ") - 1
    assert len(BOUNDS) == rows

"""Tests marked `long`: each costs much, and names the test that holds its promise in plain form in every run.

Nothing here runs them. A run leaves them out unless it is told `--long`, or names their mark or their file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

WITHOUT_STAND_IN = pytest.StashKey[list[str]]()
"""What is wrong with the stand-ins of the long tests that were collected."""
ROOT = Path(__file__).resolve().parent.parent


def asked_for(mark: str, markers: str) -> bool:
    """Whether who chooses by these markers says himself what becomes of those with this mark.

    >>> asked_for("long", "long and not crowd"), asked_for("long", "not crowd"), asked_for("long", "")
    (True, False, False)
    """
    return mark in re.findall(r"\w+", markers)


def named(arguments: Iterable[str], folder: Path) -> set[Path]:
    """The files that somebody in this folder names: all that is there is meant.

    >>> sorted(map(str, named(["tests/e2e", "tests/x.py", "y.py::test_one"], Path("/oo"))))
    ['/oo/tests/x.py', '/oo/y.py']
    """
    files = (argument.split("::", maxsplit=1)[0] for argument in arguments)
    return {(folder / file).resolve() for file in files if file.endswith(".py")}


def without_stand_in(long: Mapping[str, Sequence[object]], others: Iterable[str]) -> Iterator[str]:
    """What is wrong with the stand-ins of long tests, by their ids; those whose file nobody collected only have to be somewhere.

    >>> list(without_stand_in({"a.py::test_kills": ["b.py::test_a_kill"]}, ["b.py::test_a_kill[core]"]))
    []
    >>> list(without_stand_in({"a.py::test_kills": ["b.py::test_gone"]}, ["b.py::test_a_kill[core]"]))
    ['a.py::test_kills: b.py::test_gone is no test of every run']
    >>> list(without_stand_in({"a.py::test_kills": []}, []))
    ['a.py::test_kills names no stand-in']
    """
    there = {part for one in others for part in (one, one.split("[", maxsplit=1)[0])}
    files = {one.split("::", maxsplit=1)[0] for one in (*there, *long)}
    for test, stand_ins in long.items():
        if not stand_ins:
            yield f"{test} names no stand-in"
        for stand_in in map(str, stand_ins):
            file, _, name = stand_in.partition("::")
            is_there = stand_in in there if file in files else (ROOT / file).is_file()
            if not (name and is_there):
                yield f"{test}: {stand_in} is no test of every run"

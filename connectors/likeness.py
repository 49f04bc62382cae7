"""Which line of a file is which task that it had before, where the line no longer says so word by word.

It decides by likeness of texts alone, and never by what a task is worth; see docs/adr (sources).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final

LIKE_MIN: Final = 0.8
"""Of two texts, as difflib's ratio: "Draft talk" and "Draft a talk" are .91, "Call Bob" and "Call Tom" .75."""
PAIRS_MAX: Final = 20_000
"""Compared at most, the first known ones; where a whole large file is written anew, equal texts alone are known again."""
_NUMBER = re.compile(r"[0-9]+")


def pairs(known: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """For ids of new texts the ids of known ones that they stand for: equal texts in their order, then the likest.

    Texts with other numbers in them are other tasks: chapter 3 is not chapter 4.

    >>> pairs({"1": "draft talk", "2": "read chapter 3"}, {"a": "draft a talk", "b": "read chapter 4"})
    {'a': '1'}
    """
    found: dict[str, str] = {}
    waiting: dict[str, list[str]] = {}
    for key, text in known.items():
        if text:
            waiting.setdefault(text, []).append(key)
    for key, text in new.items():
        if text and waiting.get(text):
            found[key] = waiting[text].pop(0)
    left = [(key, text) for text, keys in waiting.items() for key in keys]
    open_ = [(key, text) for key, text in new.items() if text and key not in found]
    if open_:
        found |= _likest(left[: PAIRS_MAX // len(open_)], open_)
    return found


def _likest(known: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> dict[str, str]:
    scored: list[tuple[float, int, int]] = []
    for j, (_, text) in enumerate(new):
        matcher = SequenceMatcher(None, b=text, autojunk=False)
        for i, (_, before) in enumerate(known):
            matcher.set_seq1(before)
            if (
                _NUMBER.findall(before) == _NUMBER.findall(text)
                and matcher.real_quick_ratio() >= LIKE_MIN
                and matcher.quick_ratio() >= LIKE_MIN
                and (ratio := matcher.ratio()) >= LIKE_MIN
            ):
                scored.append((-ratio, i, j))
    found: dict[str, str] = {}
    used: set[int] = set()
    for _, i, j in sorted(scored):
        if i not in used and new[j][0] not in found:
            used.add(i)
            found[new[j][0]] = known[i][0]
    return found

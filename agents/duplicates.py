"""Titles that say the same: by their words alone, whatever their order, case and punctuation.

It never asks a model, and knows no language.
"""

from __future__ import annotations

import string
from functools import lru_cache

_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


@lru_cache(maxsize=4096)
def words(title: str) -> frozenset[str]:
    """The words of a title; none where it is all punctuation.

    >>> sorted(words("Call Mum! (call)"))
    ['call', 'mum']
    """
    return frozenset(title.translate(_SPACES).casefold().split())


def alike(one: frozenset[str], other: frozenset[str], *, permille: int) -> bool:
    """Whether two sets of words share so much of all their words (Jaccard 1901), in units of 1/1000.

    >>> alike(words("buy oat milk"), words("Buy milk"), permille=600)
    True
    """
    shared = len(one & other)
    return shared > 0 and shared * 1000 >= permille * (len(one) + len(other) - shared)

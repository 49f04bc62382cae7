"""Whether two titles ask for the same: equal numbers first, then names that do not differ, then what an embedder says of their meaning.

Cosine alone takes "pull request 412" for "pull request 413" (docs/generated-tips.md has the curves). It never computes an embedding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from tables.texts import title_key

SAME_PERMILLE = 750
"""Cosine from which on titles of equal numbers and names ask for the same."""
ALIKE_PERMILLE = 850
"""Cosine from which on two written tips are too much alike to be on hand together, whatever their numbers and names."""
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+")


class Embedder(Protocol):
    """What says how near titles are in meaning."""

    @property
    def version(self) -> str:
        """NAME@VERSION."""

    def permilles(self, title: str, others: Sequence[str]) -> list[int]:
        """Return the cosine to each of the others, in units of 1/1000."""


def near_duplicate(a: str, b: str, *, permille: int) -> bool:
    """Whether these ask for the same; `permille`: their cosine.

    >>> near_duplicate("Read pull request 412", "Read pull request 413", permille=980)
    False
    >>> near_duplicate("Call Anna", "Call Bob", permille=900), near_duplicate("Call the dentist", "Ring the dentist", permille=900)
    (False, True)
    """
    return may_be_same(a, b) and (permille >= SAME_PERMILLE or title_key(a) == title_key(b) != 0)


def may_be_same(a: str, b: str) -> bool:
    """Whether their numbers are equal and neither has a name beside one that the other has not.

    >>> may_be_same("Read chapter 3", "Read chapter 4"), may_be_same("Answer Anna", "Answer"), may_be_same("Answer Anna", "Answer Bob")
    (False, True, False)
    """
    mine, theirs = names(a), names(b)
    return numbers(a) == numbers(b) and (mine <= theirs or theirs <= mine)


def numbers(title: str) -> list[str]:
    """Return its numbers, sorted.

    >>> numbers("Chapter 3 of 12")
    ['12', '3']
    """
    return sorted(_NUMBER.findall(title))


def names(title: str) -> frozenset[str]:
    """Return what may be names in it, whatever begins with a capital behind its first word: in German also every noun.

    >>> sorted(names("Call Anna about Berlin"))
    ['anna', 'berlin']
    """
    return frozenset(word.casefold() for word in _WORD.findall(title)[1:] if word[0].isupper())

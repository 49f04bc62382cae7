"""From scores to a choice: exact probabilities as whole numbers over a whole number, and the draw by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.bandit import philox
from agents.bandit.philox import Words
from tables.linear import Floats, Ints

KEY_HALF = (1 << 64) - 1
"""The lower half of a key of 128 bits; the upper one is what is left of it, shifted by 64."""


UNSCORED: Floats = np.empty((3, 0))
"""Where nothing is expected."""


class Choice(NamedTuple):
    """Which candidate was drawn, with the numbers it was drawn by, as a kernel made them. A tuple: one is made for each decision."""

    chosen: int
    shares: Ints
    """In rows: how many draws each candidate won, 0 where none are made; and its probability as a whole number over the denominator: (2, K)."""
    denominator: int
    scored: Floats = UNSCORED
    """In rows, as agents.bandit.kernel.expect gives them: (3, K)."""
    known: int = 0
    """How much is known of this person: a bucket of tables.sums.KNOWN_FROM."""

    @property
    def numerators(self) -> list[int]:
        """Their sum is the denominator."""
        said: list[int] = self.shares[1].tolist()
        return said

    @property
    def draws_won(self) -> list[int]:
        """How many of a policy's draws prefer each."""
        said: list[int] = self.shares[0].tolist()
        return said

    @property
    def scores(self) -> list[float]:
        """What each is expected to be worth, less what an interruption costs; empty where nothing is expected."""
        said: list[float] = self.scored[0].tolist()
        return said

    @property
    def shared(self) -> list[float]:
        """Rewards expected of anybody; empty where nothing is expected."""
        said: list[float] = self.scored[1].tolist()
        return said

    @property
    def own(self) -> list[float]:
        """Rewards expected of this person, to whom the policy has listened fully; empty where nothing is expected."""
        said: list[float] = self.scored[2].tolist()
        return said

    def propensity(self, index: int) -> float:
        """Return the probability that this candidate had: one division, so the same on every machine."""
        return self.shares.item(1, index) / self.denominator


class Way(NamedTuple):
    """How a policy comes from what is expected to shares: what `agents.bandit.expected.pmfs` has to know to stand in for it."""

    gate: float | None = None
    """How far the person's own part is listened to; as far as the version says where there is none."""
    draws: int = 0
    """Each picks its best; 0 for the one with the greatest bound, of so many deviations:"""
    width: float = 0.0
    floor_permille: int = 0
    """At the least."""


def words(*, key: int, n: int) -> Words:
    """n raw 64-bit words of the counter-based generator Philox 4x64-10 (Salmon et al. 2011) under a 128-bit key.

    Raw words, because the streams of numpy's Generator methods are not promised from one version to the next.

    >>> int(words(key=1, n=1)[0])
    5599841837815857887
    """
    raw = np.empty(n, dtype=np.uint64)
    philox.fill(key & KEY_HALF, key >> 64, raw)
    return raw


def floored(shares: Sequence[int], *, floor_permille: int) -> tuple[list[int], int]:
    """p = (1 - floor) x share + floor / K, as whole numbers over a whole number.

    >>> floored((3, 1), floor_permille=20)
    ([5960, 2040], 8000)
    """
    k, total = len(shares), sum(shares)
    rest, least = (1000 - floor_permille) * k, floor_permille * total
    return [rest * share + least for share in shares], 1000 * k * total


def drawn(numerators: Sequence[int], denominator: int, *, word: int) -> int:
    """Return the candidate that one raw 64-bit word falls on; it lies on [0, denominator) evenly to within 2^-24.

    >>> drawn([5960, 2040], 8000, word=0), drawn([5960, 2040], 8000, word=2**64 - 1)
    (0, 1)
    """
    left = (word * denominator) >> 64
    chosen = 0
    while left >= numerators[chosen]:
        left -= numerators[chosen]
        chosen += 1
    return chosen

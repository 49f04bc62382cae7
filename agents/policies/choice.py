"""From draws won to a choice: exact probabilities as whole numbers over a whole number, and the draw by them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

_PHILOX = np.random.Philox(key=0)
"""Set to its key, with all of its state, at each use: that takes a tenth of the time of making one."""
_AT_START = _PHILOX.state
_ZERO = np.zeros(4, dtype=np.uint64)

_EVERY_OTHER = np.uint64(0x0000_FFFF_0000_FFFF)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which candidate was drawn, with the numbers it was drawn by; all lists are (K,)."""

    chosen: int
    numerators: tuple[int, ...]
    denominator: int
    draws_won: tuple[int, ...]
    scores: tuple[float, ...]

    def propensity(self, index: int) -> float:
        """The probability that this candidate had: one division, so the same on every machine."""
        return self.numerators[index] / self.denominator


def words(*, key: int, n: int) -> Words:
    """n raw 64-bit words of the counter-based generator Philox 4x64-10 (Salmon et al. 2011) under a 128-bit key.

    Raw words, because the streams of numpy's Generator methods are not promised from one version to the next.

    >>> int(words(key=1, n=1)[0])
    5599841837815857887
    """
    low, high = key & 0xFFFF_FFFF_FFFF_FFFF, key >> 64
    with _PHILOX.lock:
        _PHILOX.state = {**_AT_START, "state": {"counter": _ZERO, "key": np.array([low, high], dtype=np.uint64)}}
        raw: Words = _PHILOX.random_raw(n)
    return raw


def normals(raw: Words, *, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Near-normal draws of mean 0 and variance 1 within ±6: twelve 16-bit uniforms added up, from three words each.

    Whole numbers until the last division: no logarithm or cosine, which differ between processors.
    """
    n = shape[0] * shape[1]
    assert len(raw) == 3 * n
    # Each word as two halves of 32 bits: first its four uniforms add up to two, one a half, then the three words.
    pairs = (raw & _EVERY_OTHER) + (raw >> np.uint64(16) & _EVERY_OTHER)
    halves = pairs[0::3] + pairs[1::3] + pairs[2::3]
    sums = ((halves >> np.uint64(32)) + (halves & np.uint64(0xFFFF_FFFF))).view(np.int64)
    z: npt.NDArray[np.float64] = (2 * sums - 12 * 65535) / 131072.0
    return z.reshape(shape)


def count_wins(scores: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """How many draws each candidate wins; scores: (draws, K), whole numbers.

    Equals share: the search for the greatest begins at another candidate in each two draws, once upwards and once
    downwards, so that none of several alike is always the one.

    >>> count_wins(np.array([[7, 7, 1], [7, 7, 1], [7, 7, 1], [7, 7, 1], [7, 9, 1], [7, 9, 1]]))
    (2, 4, 0)
    """
    draws, k = scores.shape
    order = _orders(draws, k)
    first = scores.take(order).argmax(axis=1)
    return tuple(np.bincount(order[np.arange(draws), first] % k, minlength=k).tolist())


@lru_cache(maxsize=256)
def _orders(draws: int, k: int) -> npt.NDArray[np.int64]:
    """In which order each draw looks through its candidates, as places in the flattened scores; (draws, K)."""
    turn = np.arange(draws, dtype=np.int64)[:, None]
    places: npt.NDArray[np.int64] = (turn // 2 + (1 - turn % 2 * 2) * np.arange(k, dtype=np.int64)) % k + turn * k
    places.flags.writeable = False
    return places


def choose(draws_won: tuple[int, ...], *, floor_permille: int, word: int, scores: tuple[float, ...]) -> Choice:
    """Draws one of K candidates by p = (1 - floor) x share of draws won + floor / K.

    `word` is one raw 64-bit word; multiplied and shifted it falls on [0, denominator) evenly to within 2^-40.

    >>> choose((3, 1), floor_permille=20, word=0, scores=(0.0, 0.0)).numerators
    (5960, 2040)
    """
    k, draws = len(draws_won), sum(draws_won)
    numerators = tuple((1000 - floor_permille) * k * won + floor_permille * draws for won in draws_won)
    denominator = 1000 * k * draws
    assert sum(numerators) == denominator
    left = (word * denominator) >> 64
    chosen = 0
    while left >= numerators[chosen]:
        left -= numerators[chosen]
        chosen += 1
    return Choice(chosen=chosen, numerators=numerators, denominator=denominator, draws_won=draws_won, scores=scores)

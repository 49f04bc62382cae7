"""Sums over what a person taught, in fixed point: adding and taking away is exact, in any order, on any machine.

A contribution is w x xᵀ and w x r, with x and r in units of 1/64 and the weight w of 1/64 too, so sums are in units of
2^-18. Weights grow forward in event time (w doubles with each half-life) instead of old ones being decayed: nothing
needs to be touched as time passes. They stand relative to a landmark, a whole number of half-lives since 1970; moving
it forward halves every entry once per step. It never holds a float.

Source of forward decay: Cormode et al. 2009, "Forward decay: a practical time decay model for streaming systems".
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import sqrt

import numpy as np
import numpy.typing as npt

from oo.v1 import row_pb2

Ints = npt.NDArray[np.int64]

UNIT = 64
SCALE = UNIT**3
"""Sums are in units of 1/SCALE = 2^-18."""

HALF_LIFE_MS = 28 * 24 * 3600 * 1000

_STEPS = 32
"""Weights take one of 32 values within a half-life, less than a day each."""


def _weights() -> tuple[int, ...]:
    # 2^(i/32) from square roots alone, which every processor rounds alike.
    root = 2.0
    for _ in range(5):
        root = sqrt(root)
    values = [1.0]
    for _ in range(_STEPS - 1):
        values.append(values[-1] * root)
    return tuple(round(UNIT * value) for value in values)


_WEIGHTS = _weights()


@lru_cache(maxsize=8)
def triangle(d: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Row and column of each stored entry of a d × d Gram matrix: the upper triangle by rows."""
    rows, columns = np.triu_indices(d)
    rows.flags.writeable = columns.flags.writeable = False
    return rows, columns


def empty(*, d: int, feature_version: int) -> row_pb2.Sums:
    """The sums of someone who has taught nothing yet."""
    return row_pb2.Sums(feature_version=feature_version, gram=[0] * (d * (d + 1) // 2), moment=[0] * d)


def weight(time_ms: int) -> tuple[int, int]:
    """Landmark of that time, and its weight relative to it in units of 1/64, from 64 up to just under 128.

    >>> weight(0), weight(HALF_LIFE_MS // 2), weight(HALF_LIFE_MS)
    ((0, 64), (0, 91), (1, 64))
    """
    landmark, rest_ms = divmod(time_ms, HALF_LIFE_MS)
    return landmark, _WEIGHTS[rest_ms * _STEPS // HALF_LIFE_MS]


def add(sums: row_pb2.Sums, *, x: Iterable[int], reward: int, time_ms: int, sign: int = 1) -> row_pb2.Sums:
    """The sums with one contribution more (or, with sign -1, one less).

    x: (d,) in units of 1/64, each within [-64, 64]; reward in units of 1/64; `time_ms` of the decision, not of the
    reaction, so that a correction weighs what it replaces. One entry is at most 2^19 a contribution: an int64 holds 10^13.
    """
    landmark, w = weight(time_ms)
    vector = np.fromiter(x, dtype=np.int64)
    rows, columns = triangle(len(vector))
    base = max(sums.landmark, landmark)
    gram, moment, n = at_landmark(sums, landmark=base)
    steps = base - landmark
    gram += sign * halve(w * vector[rows] * vector[columns], steps=steps)
    moment += sign * halve(w * vector * reward, steps=steps)
    n += sign * _halve_one(w, steps=steps)
    return row_pb2.Sums(
        feature_version=sums.feature_version, landmark=base, n=n, gram=gram.tolist(), moment=moment.tolist()
    )


def at_landmark(sums: row_pb2.Sums, *, landmark: int) -> tuple[Ints, Ints, int]:
    """Gram entries, moment and count of these sums as they stand at a landmark not before their own."""
    steps = landmark - sums.landmark
    assert steps >= 0, "a landmark never moves back"
    gram = halve(np.array(sums.gram, dtype=np.int64), steps=steps)
    moment = halve(np.array(sums.moment, dtype=np.int64), steps=steps)
    return gram, moment, _halve_one(sums.n, steps=steps)


def halve(values: Ints, *, steps: int) -> Ints:
    """Each value over 2^steps, rounded to the nearest; a shift, so it is the same everywhere.

    >>> halve(np.array([5, -5, 1024]), steps=1).tolist()
    [3, -2, 512]
    """
    if steps == 0:
        return values.copy()
    if steps > 62:
        return np.zeros_like(values)
    rounded: Ints = (values + (1 << (steps - 1))) >> steps
    return rounded


def _halve_one(value: int, *, steps: int) -> int:
    return int(halve(np.array([value], dtype=np.int64), steps=steps)[0]) if steps else value

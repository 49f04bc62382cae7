"""The arithmetic of a decision, compiled: what is expected of each candidate, and how often draws prefer it.

Only + - x / and square roots in a written order, and every result on a grid before it is compared: the same bits on every
processor. It knows no messages and no settings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tables.compiled import compiled
from tables.linear import Floats, Ints, cholesky, forward, unpacked
from tables.sums import UNIT

Words = npt.NDArray[np.uint64]

GRID = float(1 << 20)
"""Scores are rounded to whole multiples of 2^-20 before they are compared."""

_ONE = 1.0 / UNIT


@compiled(
    "Tuple((f8[::1], f8[::1], f8[:, ::1]))(i8[:, ::1], i8[::1], i8[::1], f8, f8[::1], f8[:, ::1], f8[:, ::1], f8, f8)"
)
def expect(
    x: Ints,
    gram: Ints,
    moment: Ints,
    scale: float,
    mean: Floats,
    factor: Floats,
    precision: Floats,
    noise: float,
    gate: float,
) -> tuple[Floats, Floats, Floats]:
    """The joint posterior of K scores xᵀβ + gate · bᵀθ, where b is the first q entries of x.

    x: (K, d) in units of 1/64; gram, moment: the person's sums, entries worth `scale`; mean, factor: of β, with the lower
    factor of its covariance; precision: σ²Σ⁻¹, (q, q); noise: σ². Returns the mean for everybody (K,), what the person's own part
    adds to it at a gate of 1 (K,), and the factor of the scores' covariance (K, d + q), whose rows are independent of each other:
    another candidate on the slate changes none.
    """
    k, d = x.shape
    q = precision.shape[0]
    shared, own = np.zeros(k), np.zeros(k)
    spread = np.zeros((k, d + q))
    real = np.empty((k, d))
    for a in range(k):
        for i in range(d):
            real[a, i] = x[a, i] * _ONE
            shared[a] += real[a, i] * mean[i]
    if q > 0:
        full = unpacked(gram, d, scale)
        lower = precision + full[:q, :q]
        cholesky(lower)
        h = np.empty((q, d))
        v = np.empty((q, 1))
        for i in range(q):
            value = moment[i] * scale
            for j in range(d):
                h[i, j] = full[i, j]
                value -= full[i, j] * mean[j]
            v[i, 0] = value
        forward(lower, h)
        forward(lower, v)
        y = np.empty((q, k))
        for i in range(q):
            for a in range(k):
                y[i, a] = real[a, i]
        forward(lower, y)
        root = np.sqrt(noise) * gate
        for i in range(q):
            for a in range(k):
                f = y[i, a]
                own[a] += f * v[i, 0]
                spread[a, d + i] = f * root
                f *= gate
                if f != 0.0:
                    for j in range(d):
                        real[a, j] -= f * h[i, j]
    for a in range(k):
        for i in range(d):
            f = real[a, i]
            if f != 0.0:
                for j in range(i + 1):
                    spread[a, j] += f * factor[i, j]
    return shared, own, spread


@compiled("i8[:, ::1](f8[::1], f8[:, ::1], u8[::1], i8, f8)")
def draw(scores: Floats, spread: Floats, raw: Words, draws: int, width: float) -> Ints:
    """Scores of posterior draws on the grid: (draws, K). Every second draw mirrors the one before it.

    raw: 64-bit words, half a one for each of draws / 2 x (d + q) near-normals: the sum of four bytes. A score adds up d + q of
    them, so it is nearer to normal than they are. width: by how much the draws are spread.
    """
    k, m = spread.shape
    pairs = draws // 2
    # The sum of four whole numbers within [0, 255] has this mean and this deviation.
    middle, unit = 510.0, width / np.sqrt(4.0 * (256.0 * 256.0 - 1.0) / 12.0)
    z = np.empty((m, pairs))
    for i in range(m):
        for p in range(pairs):
            at = i * pairs + p
            half = (raw[at >> 1] >> (32 * (at & 1))) & 0xFFFFFFFF
            total = (half & 0xFF) + ((half >> 8) & 0xFF) + ((half >> 16) & 0xFF) + (half >> 24)
            z[i, p] = (np.float64(np.int64(total)) - middle) * unit
    found = np.empty((draws, k), dtype=np.int64)
    off = np.empty(pairs)
    for a in range(k):
        off[:] = 0.0
        for i in range(m):
            f = spread[a, i]
            if f != 0.0:
                for p in range(pairs):
                    off[p] += f * z[i, p]
        for p in range(pairs):
            found[2 * p, a] = np.int64(np.rint((scores[a] + off[p]) * GRID))
            found[2 * p + 1, a] = np.int64(np.rint((scores[a] - off[p]) * GRID))
    return found


def words_for(spread: tuple[int, ...], *, draws: int) -> int:
    """How many raw words `draw` takes.

    >>> words_for((20, 50), draws=64)
    800
    """
    return (draws // 2 * spread[1] + 1) // 2


@compiled("i8[::1](i8[:, ::1])")
def wins(found: Ints) -> Ints:
    """How many draws each candidate wins, (K,); scores: (draws, K), whole numbers.

    Equals share: the search for the greatest begins at another candidate in each two draws, once upwards and once
    downwards, so that none of several alike is always the one.

    >>> wins(np.array([[7, 7, 1], [7, 7, 1], [7, 7, 1], [7, 7, 1], [7, 9, 1], [7, 9, 1]])).tolist()
    [2, 4, 0]
    """
    draws, k = found.shape
    won = np.zeros(k, dtype=np.int64)
    for m in range(draws):
        start = (m // 2) % k
        best = start
        for a in range(1, k):
            at = (start + a) % k if m % 2 == 0 else (start - a) % k
            if found[m, at] > found[m, best]:
                best = at
        won[best] += 1
    return won


@compiled("f8[::1](f8[:, ::1])")
def deviations(spread: Floats) -> Floats:
    """The standard deviation of each score: (K,)."""
    k, m = spread.shape
    found = np.zeros(k)
    for a in range(k):
        for i in range(m):
            found[a] += spread[a, i] * spread[a, i]
        found[a] = np.sqrt(found[a])
    return found

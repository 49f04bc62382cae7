"""The arithmetic of a decision, compiled: what is expected of each candidate, and how often draws prefer it.

Only + - x / and square roots in a written order, and every result on a grid before it is compared: the same bits on every
processor. It knows no messages and no settings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tables.compiled import compiled
from tables.linear import Floats, Ints, add_dots, cholesky, forward, subtract, unpack
from tables.sums import UNIT

Words = npt.NDArray[np.uint64]

GRID = float(1 << 20)
"""Scores are rounded to whole multiples of 2^-20 before they are compared."""

_ONE = 1.0 / UNIT
_THIN = 1e-12
"""Of the greatest variance: what is less counts as none."""


@compiled(
    "Tuple((f8[:, ::1], f8[:, ::1]))(i8[:, ::1], i8[::1], i8[::1], f8, f8[::1], f8[:, ::1], f8[:, ::1], f8, f8, f8, i8)"
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
    cost: float,
    silent: int,
) -> tuple[Floats, Floats]:
    """Return the joint posterior of K scores xᵀβ + gate · bᵀθ, where b is the first q entries of x.

    x: (K, d) in units of 1/64; gram, moment: the person's sums, entries worth `scale`; mean, factor: of β, with the lower
    factor of its covariance; precision: σ²Σ⁻¹, (q, q); noise: σ²; cost: what an interruption costs; silent: the row that
    costs none, or -1. Returns in rows (3, K) the scores less that cost, on the grid, the rewards expected of anybody, and
    those of this person, listened to fully; and the covariance of the scores (K, K), its lower triangle.
    """
    k, d = x.shape
    q = precision.shape[0]
    shared, own = np.zeros(k), np.zeros(k)
    # Padded with noughts to a multiple of four: sums below are made in four lanes.
    m = (d + q + 3) // 4 * 4
    spread = np.zeros((k, m))
    real = np.empty((k, d))
    for a in range(k):
        given, row = x[a], real[a]
        for i in range(d):
            row[i] = given[i] * _ONE
    add_dots(real, mean, shared)
    if q > 0:
        # In columns: the person's G, the right side of θ, and the candidates; noughts up to a multiple of eight.
        h = np.zeros((q, (d + 1 + k + 7) // 8 * 8))
        unpack(gram, d, scale, h)
        right = np.empty(q)
        for i in range(q):
            right[i] = moment[i] * scale
        add_dots(h, -mean, right)
        for i in range(q):
            h[i, d] = right[i]
            for a in range(k):
                h[i, d + 1 + a] = real[a, i]
        lower = precision + h[:, :q]
        cholesky(lower)
        forward(lower, h)
        root = np.sqrt(noise) * gate
        for i in range(q):
            y, theta = h[i, d + 1 :], h[i, d]
            for a in range(k):
                own[a] += y[a] * theta
                spread[a, d + i] = y[a] * root
        if gate != 0.0:
            f = np.empty(q)
            for a in range(k):
                for i in range(q):
                    f[i] = h[i, d + 1 + a] * gate
                subtract(real[a], f, h)
    # Four rows of the factor at a time, in eights of columns; what stands above its diagonal is nought.
    fours = d // 4 * 4
    for i in range(0, fours, 4):
        n = min((i // 8 + 1) * 8, d)
        r0, r1, r2, r3 = factor[i], factor[i + 1], factor[i + 2], factor[i + 3]
        for a in range(k):
            f0, f1, f2, f3 = real[a, i], real[a, i + 1], real[a, i + 2], real[a, i + 3]
            if f0 != 0.0 or f1 != 0.0 or f2 != 0.0 or f3 != 0.0:
                row = spread[a]
                for j in range(n):
                    row[j] = (((row[j] + f0 * r0[j]) + f1 * r1[j]) + f2 * r2[j]) + f3 * r3[j]
    for i in range(fours, d):
        r0 = factor[i]
        for a in range(k):
            f0, row = real[a, i], spread[a]
            for j in range(i + 1):
                row[j] += f0 * r0[j]
    covariance = np.zeros((k, k))
    for a in range(k):
        one = spread[a]
        for b in range(0, a + 1, 2):
            # Two at a time; the last of an odd number twice.
            c = min(b + 1, a)
            other, next_one = spread[b], spread[c]
            s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = 0.0
            for i in range(0, m, 4):
                s0 += one[i] * other[i]
                s1 += one[i + 1] * other[i + 1]
                s2 += one[i + 2] * other[i + 2]
                s3 += one[i + 3] * other[i + 3]
                t0 += one[i] * next_one[i]
                t1 += one[i + 1] * next_one[i + 1]
                t2 += one[i + 2] * next_one[i + 2]
                t3 += one[i + 3] * next_one[i + 3]
            covariance[a, b] = (s0 + s1) + (s2 + s3)
            covariance[a, c] = (t0 + t1) + (t2 + t3)
    scored = np.empty((3, k))
    for a in range(k):
        scored[0, a] = 0.0 if a == silent else np.rint((shared[a] + gate * own[a] - cost) * GRID) / GRID
        scored[1, a] = shared[a]
        scored[2, a] = shared[a] + own[a]
    return scored, covariance


@compiled("i8[:, ::1](f8[::1], f8[:, ::1], u8[::1], i8, f8, f8)")
def draw(scores: Floats, covariance: Floats, raw: Words, draws: int, width: float, optimism: float) -> Ints:
    """Scores of posterior draws on the grid: (draws, K). Every second draw mirrors the one before it.

    raw: 64-bit words, half a one for each of draws / 2 x K near-normals: the sum of four bytes. width: by how much the draws
    are spread about the scores and `optimism` of their own deviations. A candidate whose score follows from those before it draws nothing of its own.
    """
    k = len(scores)
    pairs = draws // 2
    lower = covariance.copy()
    greatest = 0.0
    for a in range(k):
        greatest = max(greatest, lower[a, a])
    for a in range(k):
        if lower[a, a] <= greatest * _THIN:
            for b in range(a, k):
                lower[b, a] = 0.0
            continue
        root = np.sqrt(lower[a, a])
        for b in range(a, k):
            lower[b, a] /= root
        for b in range(a + 1, k):
            f = lower[b, a]
            for c in range(b, k):
                lower[c, b] -= lower[c, a] * f
    # The sum of four whole numbers within [0, 255] has this mean and this deviation.
    middle, unit = 510.0, width / np.sqrt(4.0 * (256.0 * 256.0 - 1.0) / 12.0)
    z = np.empty((k, pairs))
    for a in range(k):
        for p in range(pairs):
            at = a * pairs + p
            half = (raw[at >> 1] >> (32 * (at & 1))) & 0xFFFFFFFF
            total = (half & 0xFF) + ((half >> 8) & 0xFF) + ((half >> 16) & 0xFF) + (half >> 24)
            z[a, p] = (np.float64(np.int64(total)) - middle) * unit
    found = np.empty((draws, k), dtype=np.int64)
    off = np.empty(pairs)
    for a in range(k):
        off[:] = 0.0
        bonus = optimism * np.sqrt(covariance[a, a])
        for b in range(a + 1):
            f = lower[a, b]
            if f != 0.0:
                for p in range(pairs):
                    off[p] += f * z[b, p]
        for p in range(pairs):
            found[2 * p, a] = np.int64(np.rint((scores[a] + bonus + off[p]) * GRID))
            found[2 * p + 1, a] = np.int64(np.rint((scores[a] + bonus - off[p]) * GRID))
    return found


def words_for(k: int, *, draws: int) -> int:
    """Return how many raw words `draw` takes.

    >>> words_for(20, draws=64)
    320
    """
    return (draws // 2 * k + 1) // 2


@compiled("i8[::1](i8[:, ::1])")
def wins(found: Ints) -> Ints:
    """Return how many draws each candidate wins, (K,); scores: (draws, K), whole numbers.

    Equals share: the search for the greatest begins at another candidate in each two draws, once upwards and once
    downwards, so that none of several alike is always the one.

    >>> wins(np.array([[7, 7, 1], [7, 7, 1], [7, 7, 1], [7, 7, 1], [7, 9, 1], [7, 9, 1]])).tolist()
    [2, 4, 0]
    """
    draws, k = found.shape
    won = np.zeros(k, dtype=np.int64)
    for m in range(draws):
        row = found[m]
        greatest = row[0]
        for a in range(1, k):
            greatest = max(greatest, row[a])
        at, step = (m // 2) % k, 1 if m % 2 == 0 else k - 1
        while row[at] != greatest:
            at += step
            if at >= k:
                at -= k
        won[at] += 1
    return won


@compiled("i8[::1](f8[:, ::1], f8[:, ::1], u8[::1], i8, f8, f8)")
def draws_won(scored: Floats, covariance: Floats, raw: Words, draws: int, width: float, optimism: float) -> Ints:
    """Return how many draws each candidate wins, (K,), of what `expect` returned; the rest as `draw` takes it."""
    return wins(draw(scored[0], covariance, raw, draws, width, optimism))

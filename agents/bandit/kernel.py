"""The arithmetic of a decision, compiled: what is expected of each candidate, how often draws prefer it, and which is drawn.

Only + - x / and square roots in a written order, and every result on a grid before it is compared: the same bits on every
processor. It knows no messages and no settings.

Candidates lie side by side: matrices have a row for each feature and a column for each candidate, and noughts up to a multiple of eight.
"""

from __future__ import annotations

import numpy as np

from agents.bandit.philox import Words, fill
from tables.compiled import compiled
from tables.lanes import both, load, plus, store, upper, zero
from tables.linear import Floats, Ints, add_dots, cholesky, forward, multiply, subtract, unpack
from tables.sums import UNIT

GRID = float(1 << 20)
"""Scores are rounded to whole multiples of 2^-20 before they are compared."""

_ONE = 1.0 / UNIT
_THIN = 1e-12
"""Of the greatest variance: what is less counts as none."""


@compiled("void(f8[:, ::1], f8[:, ::1])")
def _products(spread: Floats, covariance: Floats) -> None:
    """Write the upper triangle of spreadᵀ @ spread, each entry the sum of four; spread: (m, w), m a multiple of four; (K, w)."""
    m, w = spread.shape
    k = covariance.shape[0]
    for a in range(0, k, 2):
        # Two rows at a time; the last of an odd number twice.
        b = min(a + 1, k - 1)
        for at in range(a // 8 * 8, w, 8):
            s0, s1, s2, s3 = zero(), zero(), zero(), zero()
            t0, t1, t2, t3 = zero(), zero(), zero(), zero()
            for i in range(0, m, 4):
                one = load(spread, i * w + at)
                s0, t0 = plus(s0, spread[i, a], one), plus(t0, spread[i, b], one)
                one = load(spread, (i + 1) * w + at)
                s1, t1 = plus(s1, spread[i + 1, a], one), plus(t1, spread[i + 1, b], one)
                one = load(spread, (i + 2) * w + at)
                s2, t2 = plus(s2, spread[i + 2, a], one), plus(t2, spread[i + 2, b], one)
                one = load(spread, (i + 3) * w + at)
                s3, t3 = plus(s3, spread[i + 3, a], one), plus(t3, spread[i + 3, b], one)
            store(covariance, a * w + at, both(both(s0, s1), both(s2, s3)))
            store(covariance, b * w + at, both(both(t0, t1), both(t2, t3)))


@compiled("Tuple((f8[:, ::1], f8[:, ::1], f8[:, ::1]))(i8[:, ::1], i8[::1], i8[::1], f8, f8[::1], f8[:, ::1])")
def _heard(
    x: Ints, gram: Ints, moment: Ints, scale: float, mean: Floats, precision: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return what of `expect` hangs on no gate, with a column for each candidate from some place on: their features; in two rows what is
    expected of anybody, and more or less of this person; and what the person's sums leave of each feature that they have of their own.
    """
    k, d = x.shape
    q = precision.shape[0]
    w = (k + 7) // 8 * 8
    worth = np.zeros((2, w))
    shared, own = worth
    real = np.zeros(((d + 3) // 4 * 4, w))
    for a in range(k):
        given = x[a]
        for i in range(d):
            real[i, a] = given[i] * _ONE
    for at in range(0, w, 8):
        total = zero()
        for i in range(d):
            total = plus(total, mean[i], load(real, i * w + at))
        store(shared, at, total)
    # In columns: the person's G and the right side of θ, and from a multiple of eight on the candidates.
    begin = (d + 8) // 8 * 8
    wide = begin + w
    h, own_precision = np.zeros((q, wide)), np.zeros((q, (q + 7) // 8 * 8))
    unpack(gram, d, scale, h)
    right = np.empty(q)
    for i in range(q):
        right[i] = moment[i] * scale
    add_dots(h, -mean, right)
    for i in range(q):
        for j in range(q):
            own_precision[i, j] = precision[i, j] + h[i, j]
        h[i, d] = right[i]
        for at in range(0, w, 8):
            store(h, i * wide + begin + at, load(real, i * w + at))
    cholesky(own_precision, -np.inf)
    forward(own_precision, h)
    for i in range(q):
        theta = h[i, d]
        for at in range(0, w, 8):
            store(own, at, plus(load(own, at), theta, load(h, i * wide + begin + at)))
    return real, worth, h


@compiled(
    "Tuple((f8[:, ::1], f8[:, ::1]))(f8[:, ::1], f8[:, ::1], f8[:, ::1], i8, i8, f8[:, ::1], f8, f8, f8, i8)",
)
def _gated(
    real: Floats,
    worth: Floats,
    h: Floats,
    k: int,
    d: int,
    factor: Floats,
    noise: float,
    gate: float,
    cost: float,
    silent: int,
) -> tuple[Floats, Floats]:
    """Return what `expect` does, of what `_heard` returned; what it says of features means nothing any more behind a gate that is not 0."""
    q, wide = h.shape
    w = worth.shape[1]
    begin = wide - w
    shared, own = worth
    if gate != 0.0:
        gated = np.empty((q, w))
        for i in range(q):
            for at in range(0, w, 8):
                store(gated, i * w + at, plus(zero(), gate, load(h, i * wide + begin + at)))
        subtract(real, h, gated)
    # A row for each source of doubt, noughts up to a multiple of four behind those of each kind: sums over them are made in four, and
    # stay what they were where features that are 0 are added.
    d_rows = (d + 3) // 4 * 4
    spread, root = np.zeros((d_rows + (q + 3) // 4 * 4, w)), np.sqrt(noise) * gate
    multiply(factor, real, spread)
    for i in range(q):
        for at in range(0, w, 8):
            store(spread, (d_rows + i) * w + at, plus(zero(), root, load(h, i * wide + begin + at)))
    covariance = np.empty((k, w))
    _products(spread, covariance)
    scored = np.empty((3, k))
    for a in range(k):
        scored[0, a] = np.rint((shared[a] + gate * own[a] - cost) * GRID) / GRID
        scored[1, a] = shared[a]
        scored[2, a] = shared[a] + own[a]
    if silent >= 0:
        scored[0, silent] = 0.0
    return scored, covariance


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
    factor of its covariance, noughts up to a multiple of four columns; precision: σ²Σ⁻¹, (q, q); noise: σ²; cost: what an interruption costs; silent: the row that
    costs none, or -1. Returns in rows (3, K) the scores less that cost, on the grid, the rewards expected of anybody, and
    those of this person, listened to fully; and the covariance of the scores, its upper triangle, (K, K) up to a multiple of eight.
    """
    real, worth, h = _heard(x, gram, moment, scale, mean, precision)
    return _gated(real, worth, h, x.shape[0], x.shape[1], factor, noise, gate, cost, silent)


@compiled("f8[:, ::1](f8[::1], f8[:, ::1], u8[::1], i8, f8, f8)")
def draw(scores: Floats, covariance: Floats, raw: Words, draws: int, width: float, optimism: float) -> Floats:
    """Scores of posterior draws in whole steps of the grid: (K, draws). The second half mirrors the first.

    raw: 64-bit words, half a one for each of draws / 2 x K near-normals: the sum of four bytes; draws: a multiple of 64.
    width: by how much the draws are spread about the scores and `optimism` of their own deviations. A candidate whose score follows from those before it draws nothing of its own.
    """
    k, pairs = len(covariance), draws // 2
    upper_factor = covariance.copy()
    greatest = 0.0
    for a in range(k):
        greatest = max(greatest, covariance[a, a])
    cholesky(upper_factor, greatest * _THIN)
    # The sum of four whole numbers within [0, 255] has this mean and this deviation.
    middle, unit = 510.0, width / np.sqrt(4.0 * (256.0 * 256.0 - 1.0) / 12.0)
    z = np.empty(k * pairs)
    for at in range(k * pairs // 2):
        word = raw[at]
        twos = (word & 0x00FF00FF00FF00FF) + ((word >> 8) & 0x00FF00FF00FF00FF)
        fours = (twos + (twos >> 16)) & 0x0000FFFF0000FFFF
        z[2 * at] = (np.float64(np.int64(fours & 0xFFFFFFFF)) - middle) * unit
        z[2 * at + 1] = (np.float64(np.int64(fours >> 32)) - middle) * unit
    found = np.empty((k, draws))
    for a in range(k):
        bonus = optimism * np.sqrt(covariance[a, a])
        for at in range(0, pairs, 32):
            s0, s1, s2, s3 = zero(), zero(), zero(), zero()
            for b in range(a + 1):
                f, there = upper_factor[b, a], b * pairs + at
                s0, s1 = plus(s0, f, load(z, there)), plus(s1, f, load(z, there + 8))
                s2, s3 = plus(s2, f, load(z, there + 16)), plus(s3, f, load(z, there + 24))
            here = a * draws + at
            store(found, here, s0)
            store(found, here + 8, s1)
            store(found, here + 16, s2)
            store(found, here + 24, s3)
        for p in range(pairs):
            off = found[a, p]
            found[a, p] = np.rint((scores[a] + bonus + off) * GRID)
            found[a, pairs + p] = np.rint((scores[a] + bonus - off) * GRID)
    return found


def words_for(k: int, *, draws: int) -> int:
    """Return how many raw words `draw` takes.

    >>> words_for(20, draws=64)
    320
    """
    return (draws // 2 * k + 1) // 2


@compiled("i8[::1](f8[:, ::1])")
def wins(found: Floats) -> Ints:
    """Return how many draws each candidate wins, (K,); scores: (K, draws), whole numbers, as `draw` gives them.

    Equals share: the search for the greatest begins at another candidate in each draw of a half, in the first half upwards and
    in the second downwards, so that none of several alike is always the one.

    >>> wins(np.array([[7.0, 7, 7, 7, 7, 7], [7, 7, 9, 7, 7, 9], [1, 1, 1, 1, 1, 1]])).tolist()
    [2, 4, 0]
    """
    k, draws = found.shape
    pairs = draws // 2
    greatest, first, last = found[0].copy(), np.zeros(draws), np.zeros(draws)
    for a in range(1, k):
        row, place = found[a], float(a)
        for m in range(draws):
            first[m] = place if row[m] > greatest[m] else first[m]
            last[m] = place if row[m] >= greatest[m] else last[m]
            greatest[m] = max(greatest[m], row[m])
    won = np.zeros(k, dtype=np.int64)
    for m in range(draws):
        at = int(first[m])
        if first[m] != last[m]:
            # Several are alike.
            at, step = m % pairs % k, 1 if m < pairs else k - 1
            while found[at, m] != greatest[m]:
                at += step
                if at >= k:
                    at -= k
        won[at] += 1
    return won


@compiled("i8[::1](f8[:, ::1], f8[:, ::1], f8)")
def best(scored: Floats, covariance: Floats, width: float) -> Ints:
    """Return 1 for whoever has the greatest score and so many of its deviations, 0 for the others, (K,); of what `expect` returned."""
    k = covariance.shape[0]
    bound, greatest = np.empty(k), -np.inf
    for a in range(k):
        bound[a] = np.rint((scored[0, a] + width * np.sqrt(covariance[a, a])) * GRID)
        greatest = max(greatest, bound[a])
    found = np.zeros(k, dtype=np.int64)
    for a in range(k):
        found[a] = bound[a] == greatest
    return found


@compiled("i8[::1](f8[:, ::1], f8[:, ::1], u8[::1], i8, f8, f8)")
def draws_won(scored: Floats, covariance: Floats, raw: Words, draws: int, width: float, optimism: float) -> Ints:
    """Return how many draws each candidate wins, (K,), of what `expect` returned; the rest as `draw` takes it."""
    return wins(draw(scored[0], covariance, raw, draws, width, optimism))


@compiled(
    "Tuple((f8[:, ::1], i8[:, ::1], i8))"
    "(i8[:, ::1], i8[::1], i8[::1], f8, f8[::1], f8[:, ::1], f8[:, ::1], f8, f8, f8, i8, u8, u8, i8, f8, f8, i8)"
)
def choose(
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
    low: int,
    high: int,
    draws: int,
    width: float,
    optimism: float,
    floor_permille: int,
) -> tuple[Floats, Ints, int]:
    """Return what `expect` scores; in rows (2, K) the draws won and the numerators of the probabilities; and who is drawn.

    low, high: the halves of the key that all chance is taken from; the rest as `expect` and `draw` take it. Probabilities and the one who is
    drawn are those of agents.bandit.choice, over 1000 · K · draws.
    """
    k = x.shape[0]
    scored, covariance = expect(x, gram, moment, scale, mean, factor, precision, noise, gate, cost, silent)
    raw = np.empty((draws // 2 * k + 1) // 2 + 1, dtype=np.uint64)
    fill(low, high, raw)
    whole = np.empty((2, k), dtype=np.int64)
    whole[0] = draws_won(scored, covariance, raw, draws, width, optimism)
    rest, least = (1000 - floor_permille) * k, floor_permille * draws
    for a in range(k):
        whole[1, a] = rest * whole[0, a] + least
    left, chosen = np.int64(upper(raw[-1], np.uint64(1000 * k * draws))), 0
    while left >= whole[1, chosen]:
        left -= whole[1, chosen]
        chosen += 1
    return scored, whole, chosen


OWN_GATE, BEST = np.nan, 0
"""In `pmfs`: the gate that is given; and no draws, but the greatest bound."""


@compiled(
    "f8[:, ::1](i8[:, ::1], i8[::1], i8[::1], f8, f8[::1], f8[:, ::1], f8[:, ::1], f8, f8, f8, i8, f8[:, ::1], u8[:, ::1], f8, f8, i8)"
)
def pmfs(
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
    ways: Floats,
    keys: Words,
    width: float,
    optimism: float,
    floor_permille: int,
) -> Floats:
    """Return the probabilities by which P policies draw, each as it would alone, behind the two rows of rewards that `expect` returns: (2 + P, K).

    ways: (P, 4), each policy's gate, draws, width of a bound and floor at the least; keys: (P, 2), the halves of each one's key; the rest as `choose` takes it.
    """
    k = x.shape[0]
    real, worth, h = _heard(x, gram, moment, scale, mean, precision)
    found = np.empty((2 + len(ways), k))
    for p in range(len(ways)):
        own, draws = gate if np.isnan(ways[p, 0]) else ways[p, 0], int(ways[p, 1])
        scored, covariance = _gated(real.copy(), worth, h, k, x.shape[1], factor, noise, own, cost, silent)
        if draws == BEST:
            shares = best(scored, covariance, ways[p, 2])
        else:
            raw = np.empty((draws // 2 * k + 1) // 2, dtype=np.uint64)
            fill(keys[p, 0], keys[p, 1], raw)
            shares = draws_won(scored, covariance, raw, draws, width, optimism)
        floor, total = max(np.int64(floor_permille), np.int64(ways[p, 3])), np.int64(0)
        for a in range(k):
            total += shares[a]
        for a in range(k):
            numerator = (1000 - floor) * k * shares[a] + floor * total
            found[2 + p, a] = np.float64(numerator) / np.float64(1000 * k * total)
        found[0], found[1] = scored[1], scored[2]
    return found

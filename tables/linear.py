"""Small dense linear algebra in a written order: Cholesky and forward substitution, compiled.

Only + - x / and square roots, so that a row and a decision come out the same on every processor; LAPACK promises no
such thing. It never pivots and never fails: what is not positive definite is our own mistake.

Each entry is added to in the order of one row after the other, eight entries side by side (tables.lanes), and stays in the processor
until it is whole. So rows are as wide as a multiple of eight, and what stands beyond their content is finite and means nothing.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from tables.compiled import compiled
from tables.lanes import less, load, over, plus, store, zero

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@compiled("void(f8[:, ::1], f8)")
def cholesky(a: Floats, thin: float) -> None:
    """Turn a positive definite matrix (n, w) into its upper factor in place; what stands below the diagonal means nothing.

    Where no more than `thin` is left of a diagonal entry, its row is nought.
    """
    n, w = a.shape
    for i in range(n):
        begin = i // 8 * 8
        for at in range(begin, w, 8):
            row = load(a, i * w + at)
            for j in range(i):
                row = less(row, a[j, i], load(a, j * w + at))
            store(a, i * w + at, row)
        if a[i, i] <= thin:
            for at in range(begin, w, 8):
                store(a, i * w + at, zero())
        else:
            root = sqrt(a[i, i])
            for at in range(begin, w, 8):
                store(a, i * w + at, over(load(a, i * w + at), root))


@compiled("void(f8[:, ::1], f8[:, ::1])")
def forward(upper: Floats, b: Floats) -> None:
    """Replace b (n, m) by the solution y of upperᵀ @ y = b."""
    n, m = b.shape
    fours = m // 32 * 32
    for at in range(0, fours, 32):
        for i in range(n):
            here = i * m + at
            r0, r1, r2, r3 = load(b, here), load(b, here + 8), load(b, here + 16), load(b, here + 24)
            for j in range(i):
                f, there = upper[j, i], j * m + at
                r0 = less(r0, f, load(b, there))
                r1 = less(r1, f, load(b, there + 8))
                r2 = less(r2, f, load(b, there + 16))
                r3 = less(r3, f, load(b, there + 24))
            root = upper[i, i]
            store(b, here, over(r0, root))
            store(b, here + 8, over(r1, root))
            store(b, here + 16, over(r2, root))
            store(b, here + 24, over(r3, root))
    for at in range(fours, m, 8):
        for i in range(n):
            r0 = load(b, i * m + at)
            for j in range(i):
                r0 = less(r0, upper[j, i], load(b, j * m + at))
            store(b, i * m + at, over(r0, upper[i, i]))


@compiled("void(f8[:, ::1], f8[:, ::1], f8[:, ::1])")
def subtract(to: Floats, by: Floats, rows: Floats) -> None:
    """Take byᵀ @ rows from a matrix (d, m), d a multiple of four; by: (n, d) or wider, rows: (n, m)."""
    n, m = rows.shape
    for j in range(0, to.shape[0], 4):
        for at in range(0, m, 8):
            here = j * m + at
            t0, t1, t2, t3 = load(to, here), load(to, here + m), load(to, here + 2 * m), load(to, here + 3 * m)
            for i in range(n):
                row = load(rows, i * m + at)
                t0, t1 = less(t0, by[i, j], row), less(t1, by[i, j + 1], row)
                t2, t3 = less(t2, by[i, j + 2], row), less(t3, by[i, j + 3], row)
            store(to, here, t0)
            store(to, here + m, t1)
            store(to, here + 2 * m, t2)
            store(to, here + 3 * m, t3)


@compiled("void(f8[:, ::1], f8[:, ::1], f8[:, ::1])")
def multiply(lower: Floats, rows: Floats, to: Floats) -> None:
    """Write lowerᵀ @ rows into the first rows of a matrix; lower: (n, d), noughts above its diagonal, d a multiple of four; rows: (n, m) or longer."""
    n, d = lower.shape
    m = rows.shape[1]
    for j in range(0, d, 4):
        for at in range(0, m, 8):
            t0, t1, t2, t3 = zero(), zero(), zero(), zero()
            for i in range(j, n):
                row = load(rows, i * m + at)
                t0, t1 = plus(t0, lower[i, j], row), plus(t1, lower[i, j + 1], row)
                t2, t3 = plus(t2, lower[i, j + 2], row), plus(t3, lower[i, j + 3], row)
            here = j * m + at
            store(to, here, t0)
            store(to, here + m, t1)
            store(to, here + 2 * m, t2)
            store(to, here + 3 * m, t3)


@compiled("void(f8[:, ::1], f8[::1], f8[::1])")
def add_dots(rows: Floats, by: Floats, to: Floats) -> None:
    """Add rows @ by to a column (n,), each from left to right; rows: (n, m) or wider than by (m,)."""
    n, m = to.shape[0], by.shape[0]
    fours = n // 4 * 4
    for i in range(0, fours, 4):
        r0, r1, r2, r3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        s0, s1, s2, s3 = to[i], to[i + 1], to[i + 2], to[i + 3]
        for j in range(m):
            f = by[j]
            s0 += r0[j] * f
            s1 += r1[j] * f
            s2 += r2[j] * f
            s3 += r3[j] * f
        to[i], to[i + 1], to[i + 2], to[i + 3] = s0, s1, s2, s3
    for i in range(fours, n):
        for j in range(m):
            to[i] += rows[i, j] * by[j]


@compiled("void(i8[::1], i8, f8, f8[:, ::1])")
def unpack(triangle: Ints, d: int, scale: float, into: Floats) -> None:
    """Write the first rows of a symmetric matrix (d, d), from its upper triangle by rows, times `scale`.

    into: as many of them as it has rows, in its first d columns.
    """
    at = 0
    for i in range(into.shape[0]):
        stored, row = triangle[at : at + d - i], into[i, i:]
        for j in range(d - i):
            row[j] = stored[j] * scale
        for j in range(i):
            into[i, j] = into[j, i]
        at += d - i

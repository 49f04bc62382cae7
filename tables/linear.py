"""Small dense linear algebra in a written order: Cholesky and forward substitution, compiled.

Only + - x / and square roots, so that a row and a decision come out the same on every processor; LAPACK promises no
such thing. It never pivots and never fails: what is not positive definite is our own mistake.

Loops take four rows at a time, in the order of one after the other and so with its bits: what they are added to is read and
written once for all four. Inner loops run over views from 0, which is what the compiler makes vectors of.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

from tables.compiled import compiled

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@compiled("void(f8[:, ::1])")
def cholesky(a: Floats) -> None:
    """Turn a positive definite matrix (n, n) into its lower factor in place; what stands above the diagonal is left."""
    n = a.shape[0]
    for j in range(n):
        for i in range(j):
            f = a[j, i]
            for k in range(j, n):
                a[k, j] -= a[k, i] * f
        root = sqrt(a[j, j])
        for k in range(j, n):
            a[k, j] /= root


@compiled("void(f8[::1], f8[::1], f8[:, ::1])")
def subtract(row: Floats, f: Floats, b: Floats) -> None:
    """Take f @ b from a row, one of b's rows after the other; b: (n, m) or wider than the row (m,)."""
    n, m = f.shape[0], row.shape[0]
    fours = n // 4 * 4
    for j in range(0, fours, 4):
        f0, f1, f2, f3 = f[j], f[j + 1], f[j + 2], f[j + 3]
        b0, b1, b2, b3 = b[j], b[j + 1], b[j + 2], b[j + 3]
        for k in range(m):
            row[k] = (((row[k] - f0 * b0[k]) - f1 * b1[k]) - f2 * b2[k]) - f3 * b3[k]
    for j in range(fours, n):
        f0, b0 = f[j], b[j]
        for k in range(m):
            row[k] -= f0 * b0[k]


@compiled("void(f8[:, ::1], f8[:, ::1])")
def forward(lower: Floats, b: Floats) -> None:
    """Replace b (n, m) by the solution y of lower @ y = b."""
    n, m = b.shape
    for i in range(n):
        row = b[i]
        subtract(row, lower[i, :i], b)
        root = lower[i, i]
        for k in range(m):
            row[k] /= root


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

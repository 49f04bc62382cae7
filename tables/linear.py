"""Small dense linear algebra in a written order: Cholesky and forward substitution, compiled.

Only + - x / and square roots, so that a row and a decision come out the same on every processor; LAPACK promises no
such thing. It never pivots and never fails: what is not positive definite is our own mistake.
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
    """Turns a positive definite matrix (n, n) into its lower factor in place; what stands above the diagonal is left."""
    n = a.shape[0]
    for j in range(n):
        for i in range(j):
            f = a[j, i]
            for k in range(j, n):
                a[k, j] -= a[k, i] * f
        root = sqrt(a[j, j])
        for k in range(j, n):
            a[k, j] /= root


@compiled("void(f8[:, ::1], f8[:, ::1])")
def forward(lower: Floats, b: Floats) -> None:
    """Replaces b (n, m) by the solution y of lower @ y = b."""
    n, m = b.shape
    for i in range(n):
        for j in range(i):
            f = lower[i, j]
            for k in range(m):
                b[i, k] -= f * b[j, k]
        root = lower[i, i]
        for k in range(m):
            b[i, k] /= root


@compiled("f8[:, ::1](i8[::1], i8, i8, f8)")
def unpacked(triangle: Ints, rows: int, d: int, scale: float) -> Floats:
    """The first rows of a symmetric matrix (d, d) from its upper triangle by rows, times `scale`: (rows, d)."""
    full = np.empty((rows, d))
    at = 0
    for i in range(rows):
        for j in range(i, d):
            full[i, j] = triangle[at] * scale
            at += 1
        for j in range(i):
            full[i, j] = full[j, i]
    return full

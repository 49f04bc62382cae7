"""What one person teaches about everybody: their sums with their own part integrated out.

A reward is r = xᵀβ + bᵀθ + ε, with b the first q entries of x, θ ~ N(0, Σ) the person's own and ε of variance σ². Given
the person's G = Σ w x xᵀ and g = Σ w x r, and with C = G[:q], A = G[:q, :q] and P = σ²Σ⁻¹ + A, what they say about β alone
is the information G - CᵀP⁻¹C with the right side g - CᵀP⁻¹g[:q]; and Σ is learned from the second moment of θ. All of
it adds up over people, as whole numbers. The marginal of a linear mixed model: Laird & Ware 1982, "Random-effects models for
longitudinal data".

It is a pure function of the person's sums and of the epoch (Σ, β₀) that they name; it never looks at the present β.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tables.compiled import compiled
from tables.linear import Floats, Ints, add_dots, cholesky, forward, unpack
from tables.sums import LOSSES, SCALE, UNIT, Taught

KNOWN_MIN = 2
"""Effective reactions from which on a person says something about how people differ."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A belief about how people differ, and the β that differences are taken from."""

    precision: Floats
    """σ²Σ⁻¹: (q, q)."""
    mean: Floats
    """β₀: (d,)."""
    noise: float
    """σ²."""


def size(*, d: int, q: int) -> int:
    """Return how many whole numbers a contribution has."""
    return d * (d + 1) // 2 + d + q * (q + 1) // 2 + 1 + LOSSES


def contribution(taught: Taught, epoch: Epoch) -> Ints:
    """Return what these sums add to everybody's, in units of 2^-18: (size,).

    In turn: the upper triangle of the information about β, its right side, the upper triangle of the second moment of θ,
    how many people stand behind that (1 or 0), and the losses of both ways to predict as they stand in the sums.
    """
    found = np.zeros(size(d=len(epoch.mean), q=len(epoch.precision)), dtype=np.int64)
    if taught.weight:
        counts = taught.n > KNOWN_MIN * taught.weight
        scale = UNIT / (SCALE * taught.weight)
        _contribution(
            taught.gram, taught.moment, scale, epoch.precision, epoch.mean, epoch.noise, float(SCALE), counts, found
        )
        found[-LOSSES:] = taught.losses
    return found


@compiled("void(i8[::1], i8[::1], f8, f8[:, ::1], f8[::1], f8, f8, b1, i8[::1])")
def _contribution(
    gram: Ints,
    moment: Ints,
    scale: float,
    precision: Floats,
    mean: Floats,
    noise: float,
    unit: float,
    counts: bool,
    found: Ints,
) -> None:
    d, q = moment.shape[0], precision.shape[0]
    # Column d has the right sides, and noughts fill rows up to a multiple of eight, from which they begin as well.
    wide = (d + 8) // 8 * 8
    h = np.zeros((q, wide))
    unpack(gram, d, scale, h)
    for i in range(q):
        h[i, d] = moment[i] * scale
    lower = precision + h[:, :q]
    cholesky(lower)
    forward(lower, h)
    whole, at, right, fours = np.zeros(wide), 0, d * (d + 1) // 2, q // 4 * 4
    for a in range(d):
        stored, into, row = gram[at : at + d - a], found[at : at + d - a], whole[a:]
        for b in range(d - a):
            row[b] = stored[b] * scale
        whole[d] = moment[a] * scale
        begin = a // 8 * 8
        full = whole[begin:]
        for i in range(0, fours, 4):
            f0, f1, f2, f3 = h[i, a], h[i + 1, a], h[i + 2, a], h[i + 3, a]
            h0, h1, h2, h3 = h[i, begin:], h[i + 1, begin:], h[i + 2, begin:], h[i + 3, begin:]
            for b in range(wide - begin):
                full[b] = (((full[b] - f0 * h0[b]) - f1 * h1[b]) - f2 * h2[b]) - f3 * h3[b]
        for i in range(fours, q):
            f0, h0 = h[i, a], h[i, begin:]
            for b in range(wide - begin):
                full[b] -= f0 * h0[b]
        for b in range(d - a):
            into[b] = np.int64(np.rint(row[b] * unit))
        found[right + a] = np.int64(np.rint(whole[d] * unit))
        at += d - a
    if counts:
        # The inverse of the factor gives P⁻¹, and with it the mean and covariance of θ.
        inverse = np.zeros((q, q))
        for i in range(q):
            inverse[i, i] = 1.0
        forward(lower, inverse)
        theta, rest = np.zeros(q), h[:, d].copy()
        add_dots(h, -mean, rest)
        for i in range(q):
            row = inverse[i]
            for a in range(q):
                theta[a] += row[a] * rest[i]
        at, second = right + d, np.empty(q)
        for a in range(q):
            for b in range(q):
                second[b] = theta[a] * theta[b]
            for i in range(q):
                f0, row = noise * inverse[i, a], inverse[i]
                for b in range(q):
                    second[b] += f0 * row[b]
            for b in range(a, q):
                found[at] = np.int64(np.rint(second[b] * unit))
                at += 1
        found[at] = 1

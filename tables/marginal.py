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
from tables.lanes import less, load, plus, store, zero
from tables.linear import Floats, Ints, add_dots, cholesky, forward, unpack
from tables.sums import LOSSES, SCALE, UNIT, Taught, resized_moment, resized_triangle

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


def contribution(taught: Taught, epoch: Epoch, *, into: Ints | None = None) -> Ints:
    """Return what these sums add to everybody's, in units of 2^-18: (size,); written into an array where one is given.

    In turn: the upper triangle of the information about β, its right side, the upper triangle of the second moment of θ,
    how many people stand behind that (1 or 0), and the losses of both ways to predict as they stand in the sums.
    """
    d = len(taught.moment)
    found = np.empty(size(d=d, q=len(epoch.precision)), dtype=np.int64) if into is None else into
    if taught.weight:
        counts = taught.n > KNOWN_MIN * taught.weight
        scale = UNIT / (SCALE * taught.weight)
        # An epoch of fewer features knows nothing of the others.
        mean = resized_moment(epoch.mean, d)
        _contribution(
            taught.gram, taught.moment, scale, epoch.precision, mean, epoch.noise, float(SCALE), counts, found
        )
        found[-LOSSES:] = taught.losses
    else:
        found[:] = 0
    return found


def resized(contribution: Ints, *, d: int, to: int) -> Ints:
    """Return what the same sums add with `to` features instead of d: more, which were 0, or without the last ones."""
    at = d * (d + 1) // 2
    gram, moment = resized_triangle(contribution[:at], d, to), resized_moment(contribution[at : at + d], to)
    return np.concatenate([gram, moment, contribution[at + d :]])


@compiled("void(i8[::1], i8[::1], i8[::1])")
def exchange(total: Ints, before: Ints, now: Ints) -> None:
    """Put one part of a total in the place of another, in the total and in where the part is kept; (size,) each."""
    for i in range(total.shape[0]):
        total[i] += now[i] - before[i]
        before[i] = now[i]


@compiled("void(f8[:, ::1], f8[:, ::1], i8)")
def _subtract_four(whole: Floats, h: Floats, a: int) -> None:
    """Take rows a to a + 3 of hᵀ @ h from four rows, from about their diagonal on."""
    q, w = h.shape
    for at in range(a // 8 * 8, w, 8):
        t0, t1, t2, t3 = load(whole, at), load(whole, w + at), load(whole, 2 * w + at), load(whole, 3 * w + at)
        for i in range(q):
            row = load(h, i * w + at)
            t0, t1 = less(t0, h[i, a], row), less(t1, h[i, a + 1], row)
            t2, t3 = less(t2, h[i, a + 2], row), less(t3, h[i, a + 3], row)
        store(whole, at, t0)
        store(whole, w + at, t1)
        store(whole, 2 * w + at, t2)
        store(whole, 3 * w + at, t3)


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
    # Column d has the right sides, and noughts fill rows up to a multiple of eight.
    wide = (d + 8) // 8 * 8
    h = np.zeros((q, wide))
    unpack(gram, d, scale, h)
    own = np.zeros((q, (q + 7) // 8 * 8))
    for i in range(q):
        h[i, d] = moment[i] * scale
        for j in range(q):
            own[i, j] = precision[i, j] + h[i, j]
    cholesky(own, -np.inf)
    forward(own, h)
    whole, at, right = np.zeros((4, wide)), 0, d * (d + 1) // 2
    for a0 in range(0, d, 4):
        for a in range(a0, min(a0 + 4, d)):
            r = a - a0
            stored, into = gram[at : at + d - a], whole[r, a:]
            for b in range(d - a):
                into[b] = stored[b] * scale
            whole[r, d] = moment[a] * scale
            at += d - a
        _subtract_four(whole, h, a0)
        at = a0 * d - a0 * (a0 - 1) // 2
        for a in range(a0, min(a0 + 4, d)):
            r = a - a0
            written, row = found[at : at + d - a], whole[r, a:]
            for b in range(d - a):
                written[b] = np.int64(np.rint(row[b] * unit))
            found[right + a] = np.int64(np.rint(whole[r, d] * unit))
            at += d - a
    if counts:
        # The inverse of the factor gives P⁻¹, and with it the mean and covariance of θ.
        w = own.shape[1]
        inverse = np.zeros((q, w))
        for i in range(q):
            inverse[i, i] = 1.0
        forward(own, inverse)
        rest = h[:, d].copy()
        add_dots(h, -mean, rest)
        theta = np.zeros(w)
        for begin in range(0, w, 8):
            t = zero()
            for i in range(q):
                t = plus(t, rest[i], load(inverse, i * w + begin))
            store(theta, begin, t)
        at, second = right + d, np.empty(w)
        for a in range(q):
            for begin in range(a // 8 * 8, w, 8):
                s = plus(zero(), theta[a], load(theta, begin))
                for i in range(q):
                    s = plus(s, noise * inverse[i, a], load(inverse, i * w + begin))
                store(second, begin, s)
            for b in range(a, q):
                found[at] = np.int64(np.rint(second[b] * unit))
                at += 1
        found[at] = 1
    else:
        found[right + d : right + d + q * (q + 1) // 2 + 1] = 0

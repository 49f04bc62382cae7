"""What one event of a single stream adds, for several policies in one compiled call: to the bit what the formulas of `estimates`, `switched`,
`sequence` and `propensities` give, which take thousands of streams at once and cost a hundred times as much for one. It keeps nothing.
"""

from __future__ import annotations

import numpy as np

from agents.evaluation.event import SUM_TOLERANCE, Floats
from tables.compiled import Int, compiled

WEIGHT_MAX = 4.0
"""Where `propensities` cuts the target's weights."""
BELOW, ABOVE, MANY, FEW = 0, 1, 2, 4
"""Where in what `bets` returns they stand: one bet on either side of the difference, two each of `propensities.Balance`."""


@compiled("f8(f8[::1])")
def _sum(values: Floats) -> float:
    """In numpy's order: from left to right if they are fewer than eight, else eight sums side by side."""
    n = len(values)
    whole, found = n // 8 * 8, 0.0
    if whole:
        s = values[:8].copy()
        for at in range(8, whole, 8):
            for i in range(8):
                s[i] += values[at + i]
        found = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))
    for at in range(whole, n):
        found += values[at]
    return found


@compiled("f8(f8[:, ::1], i8, f8[::1])")
def most(growth: Floats, n: Int, lost: Floats) -> float:
    """Return the greatest of growth - n · lost; growth: (any, J), lost: (J,)."""
    found = -np.inf
    for i in range(growth.shape[0]):
        for j in range(growth.shape[1]):
            found = max(found, growth[i, j] - n * lost[j])
    return found


@compiled("f8[:, ::1](f8[::1], f8[::1], f8[:, ::1], i8, f8, f8)")
def terms(logging: Floats, q_hat: Floats, pmfs: Floats, action: Int, reward: float, counts: float) -> Floats:
    """Return `estimates.terms` of each of the policies; pmfs: (P, K) -> (P, 12).

    >>> terms(np.array([0.5, 0.5]), np.zeros(2), np.array([[1.0, 0.0]]), 0, 1.0, 1.0)[0, :4].tolist()
    [1.0, 2.0, 4.0, 2.0]
    """
    found = np.empty((pmfs.shape[0], 12))
    logged, q, r, a = logging[action], q_hat[action], reward, counts
    more = a - 1
    for p in range(pmfs.shape[0]):
        meant = _sum(pmfs[p] * q_hat)
        w = pmfs[p, action] / logged if logged > 0 else 0.0
        s, w = a * (w * (r - q) + meant), a * w
        into = found[p]
        into[0], into[1], into[2], into[3], into[4], into[5] = a, w, w * w, w * r, w * w * r, w * w * r * r
        into[6], into[7], into[8], into[9], into[10], into[11] = s, s * s, a * more, more * w, more * w * r, more * s
    return found


@compiled("f8[:, ::1](f8[::1], f8[::1], f8[:, ::1], i8, f8, f8, f8[::1])")
def switched(
    logging: Floats, q_hat: Floats, pmfs: Floats, action: Int, reward: float, counts: float, cuts: Floats
) -> Floats:
    """Return `switched.terms` of each of the policies; pmfs: (P, K), cuts: (C,) -> (P, 7 + 3 C)."""
    k, many = len(logging), len(cuts)
    found, within, beyond = np.empty((pmfs.shape[0], 7 + 3 * many)), np.empty(k), np.empty(k)
    error, a = reward - q_hat[action], counts
    for p in range(pmfs.shape[0]):
        meant, into = _sum(pmfs[p] * q_hat), found[p]
        drawn = pmfs[p, action] / logging[action] if logging[action] > 0 else 0.0
        noise = drawn * error
        into[0], into[1], into[2], into[3] = a, a * a, a * meant, a * a * meant
        into[4], into[5], into[6] = a * a * meant * meant, a * error * error, a * a * noise * noise
        for c in range(many):
            for i in range(k):
                weight = pmfs[p, i] / logging[i] if logging[i] > 0 else 0.0
                is_within = weight <= cuts[c] and logging[i] > 0
                within[i], beyond[i] = (weight * pmfs[p, i], 0.0) if is_within else (0.0, pmfs[p, i])
            into[7 + c] = a * (meant + (noise if drawn <= cuts[c] else 0.0))
            into[7 + many + c], into[7 + 2 * many + c] = a * a * _sum(within), a * _sum(beyond)
    return found


@compiled("b1(f8[::1])")
def _adds_up(pmf: Floats) -> bool:
    for i in range(len(pmf)):
        if not 0 <= pmf[i] < np.inf:
            return False
    return bool(abs(_sum(pmf) - 1) <= SUM_TOLERANCE)


@compiled("b1(f8[::1], f8[::1], f8[:, ::1], i8, f8, f8, f8)")
def is_usable(
    logging: Floats, q_hat: Floats, pmfs: Floats, action: Int, reward: float, low: float, high: float
) -> bool:
    """Tell whether `event.check` has nothing to say of it; rewards within [low, high]."""
    if not (low <= reward <= high and logging[action] > 0 and _adds_up(logging)):
        return False
    for i in range(len(q_hat)):
        if not np.isfinite(q_hat[i]):
            return False
    for p in range(pmfs.shape[0]):
        if not _adds_up(pmfs[p]):
            return False
        for i in range(len(logging)):
            if pmfs[p, i] > 0 and logging[i] <= 0:
                return False
    return True


@compiled("f8[:, ::1](f8[::1], f8[::1], f8[:, ::1], i8, f8, f8, f8, f8, f8[::1], f8[::1], f8)")
def bets(
    logging: Floats,
    q_hat: Floats,
    pmfs: Floats,
    action: Int,
    reward: float,
    counts: float,
    low: float,
    width: float,
    floors: Floats,
    units: Floats,
    share: float,
) -> Floats:
    """Return what the bettors bet on, for each policy beside the first; pmfs: (1 + C, K) -> (C, 6).

    low, width: of rewards; floors, units: below and above, as `sequence` has them; share: with which events are taken at the least.
    """
    k = len(logging)
    found = np.empty((pmfs.shape[0] - 1, 6))
    delta, worst, meant, drawn = np.empty(k), np.empty(k), np.empty(k), np.empty(k)
    for p in range(1, pmfs.shape[0]):
        for side in range(2):
            floor = floors[side]
            for i in range(k):
                one = pmfs[p, i] - pmfs[0, i]
                delta[i] = one if side == 0 else -one
                worst[i] = min(delta[i], 0.0)
            room = max(floor + width * _sum(worst), 0.0)
            s = 0.0
            for i in range(k):
                q = min(max(q_hat[i] - low, 0.0), width)
                u = delta[i] / logging[i] if logging[i] > 0 else 0.0
                if u > 0:
                    q = min(q, room / abs(u))
                elif u < 0:
                    q = max(q, width - room / abs(u))
                meant[i] = delta[i] * q
                if i == action:
                    s = u * (reward - low - q)
            s += _sum(meant)
            found[p - 1, side] = max(counts * s + floor / share, 0.0) / units[side]
        for watched in range(2):
            for i in range(k):
                weight = pmfs[p, i] / logging[i] if logging[i] > 0 else 0.0
                drawn[i] = min(weight, WEIGHT_MAX) / WEIGHT_MAX if watched == 0 else logging[i]
                meant[i] = logging[i] * drawn[i]
            off = drawn[action] - _sum(meant) if counts > 0 else 0.0
            found[p - 1, MANY + watched], found[p - 1, FEW + watched] = max(1 + off, 0.0), max(1 - off, 0.0)
    return found

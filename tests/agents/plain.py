"""The arithmetic of agents.bandit.kernel and tables.marginal once more, in numpy alone and one row after the other.

Every entry meets the same additions in the same order, so the bits are the same. It is compared with the compiled loops, and used for nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tables.linear import Floats, Ints

GRID = float(1 << 20)


class Told(NamedTuple):
    """What agents.bandit.kernel.expect is told, in its order."""

    x: Ints
    gram: Ints
    moment: Ints
    scale: float
    mean: Floats
    factor: Floats
    precision: Floats
    noise: float
    gate: float
    cost: float
    silent: int


def whole(triangle: Ints, d: int, scale: float) -> Floats:
    full = np.zeros((d, d))
    full[np.triu_indices(d)] = triangle * scale
    return full + np.triu(full, 1).T


def cholesky(a: Floats, thin: float = -np.inf) -> Floats:
    """The lower factor, with a / √a on its diagonal."""
    lower = np.tril(a)
    for i in range(len(a)):
        if lower[i, i] <= thin:
            lower[i:, i] = 0.0
            continue
        lower[i:, i] /= np.sqrt(lower[i, i])
        for j in range(i + 1, len(a)):
            lower[j:, j] -= lower[j:, i] * lower[j, i]
    return lower


def forward(lower: Floats, b: Floats) -> Floats:
    y = b.copy()
    for i in range(len(y)):
        for j in range(i):
            y[i] -= lower[i, j] * y[j]
        y[i] /= lower[i, i]
    return y


def added(start: Floats, rows: Floats, by: Floats) -> Floats:
    """start + rowsᵀ @ by, one row after the other."""
    total = np.array(start, dtype=np.float64)
    for row, f in zip(rows, by, strict=True):
        total = total + row * f
    return total


def expect(told: Told) -> tuple[Floats, Floats]:
    """The three rows of scores, and the covariance."""
    k, d = told.x.shape
    q = len(told.precision)
    real = told.x * (1.0 / 64)
    shared = added(np.zeros(k), real.T, told.mean)
    g = whole(told.gram, d, told.scale)[:q]
    right = added(told.moment[:q] * told.scale, g.T, -told.mean)
    lower = cholesky(told.precision + g[:, :q])
    y = forward(lower, np.hstack([g, right[:, None], real[:, :q].T]))
    g, theta, y = y[:, :d], y[:, d], y[:, d + 1 :]
    own = added(np.zeros(k), y, theta)
    if told.gate:
        for i in range(q):
            real = real - (y[i] * told.gate)[:, None] * g[i]
    own_from = (d + 3) // 4 * 4
    spread = np.zeros((k, own_from + (q + 3) // 4 * 4))
    for i in range(d):
        spread[:, :d] += real[:, i : i + 1] * told.factor[i, :d]
    spread[:, own_from : own_from + q] = y.T * (np.sqrt(told.noise) * told.gate)
    lanes = [np.zeros((k, k)) for _ in range(4)]
    for i in range(spread.shape[1]):
        lanes[i % 4] = lanes[i % 4] + spread[:, i : i + 1] * spread[:, i]
    covariance = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    scores = np.rint((shared + told.gate * own - told.cost) * GRID) / GRID
    if told.silent >= 0:
        scores[told.silent] = 0.0
    return np.array([scores, shared, shared + own]), covariance


def draws_won(
    scores: Floats, covariance: Floats, raw: np.ndarray, *, draws: int, width: float, optimism: float
) -> list[int]:
    """How many draws each candidate wins; every second one mirrors the one before it."""
    k, pairs = len(scores), draws // 2
    lower = cholesky(covariance, float(np.diag(covariance).max()) * 1e-12)
    unit = width / np.sqrt(4.0 * (256.0 * 256.0 - 1.0) / 12.0)
    quarters = raw[: (k * pairs + 1) // 2].astype("<u8").view(np.uint8).reshape(-1, 4).sum(axis=1, dtype=np.int64)
    z = (quarters[: k * pairs].reshape(k, pairs) - 510.0) * unit
    won = [0] * k
    off = np.array([added(np.zeros(pairs), z[: a + 1], lower[a, : a + 1]) for a in range(k)])
    middle = (scores + optimism * np.sqrt(np.diag(covariance)))[:, None]
    for m in range(draws):
        found = np.rint((middle + off * (1, -1)[m % 2]) * GRID)[:, m // 2].tolist()
        at = m // 2 % k
        while found[at] != max(found):
            at = (at + (1, k - 1)[m % 2]) % k
        won[at] += 1
    return won


def contribution(told: Told, *, unit: float, counts: bool) -> list[int]:
    """What tables.marginal adds up, less the losses; x, factor and what follows the noise are not looked at."""
    d, q = len(told.moment), len(told.precision)
    g = whole(told.gram, d, told.scale)
    lower = cholesky(told.precision + g[:q, :q])
    y = forward(lower, np.hstack([g[:q], told.moment[:q, None] * told.scale]))
    left, right = g, told.moment * told.scale
    for i in range(q):
        left = left - y[i, :d, None] * y[i, :d]
        right = right - y[i, :d] * y[i, d]
    theta_theta = np.zeros((q, q))
    if counts:
        inverse = forward(lower, np.eye(q))
        rest = added(y[:, d], y[:, :d].T, -told.mean)
        theta = added(np.zeros(q), inverse, rest)
        theta_theta = theta[:, None] * theta
        for i in range(q):
            theta_theta = theta_theta + (told.noise * inverse[i])[:, None] * inverse[i]
    parts = (left[np.triu_indices(d)], right, theta_theta[np.triu_indices(q)], np.array([counts / unit]))
    return [int(one) for part in parts for one in np.rint(part * unit)]

"""Linear Thompson sampling over the sums that everybody taught.

r = xᵀβ + ε with a normal prior on β. 64 draws from the posterior each pick their best candidate; a candidate's
probability is its share of them, with a floor under it. Agrawal & Goyal 2013, "Thompson sampling for contextual
bandits with linear payoffs"; the share as an exact propensity as in the design's measurements.

`pmf` uses + - x only, element by element in a fixed order: no BLAS, whose kernels differ between processors. `fit` may
use LAPACK: what it finds travels as bytes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from math import sqrt

import numpy as np
import numpy.typing as npt

from agents.features import NAMES, VERSION, D
from agents.policies.choice import Choice, choose, count_wins, normals, words
from oo.v1 import policy_pb2, row_pb2
from tables.sums import HALF_LIFE_MS, SCALE, UNIT, triangle

NAME = "lin_ts"

DRAWS = 64
NOISE = 0.18
"""Variance of a reward about its mean."""
GRID = float(1 << 20)
"""Scores are rounded to whole multiples of 2^-20 before they are compared."""

PRODUCTS_MAX = 12_000
"""Made at a time: 96 KB."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_PRIOR_MEAN = {
    "one": 0.30,
    "starter": -0.05,
    "priority": 0.15,
    "due_within_day": 0.20,
    "due_within_week": 0.05,
    "overdue": 0.05,
    "fits_gap": 0.05,
    "busy_now": -0.15,
    "shown": -0.10,
    "dismissed": -0.25,
}
"""What is believed before anyone has reacted: tips are welcome, urgent ones more, repeated ones less."""
_PRIOR_VARIANCE = 0.04


def prior(*, config: policy_pb2.DecisionConfig) -> policy_pb2.PolicyVersion:
    """The version in force before anything was learned."""
    return _version(_prior_mean(), np.eye(D) * sqrt(_PRIOR_VARIANCE), sequence=0, n=0, config=config)


def fit(
    sums: row_pb2.Sums, *, sequence: int, config: policy_pb2.DecisionConfig, now_ms: int
) -> policy_pb2.PolicyVersion:
    """The posterior over β from everybody's sums: precision Λ + G/σ², mean from Λβ₀ + g/σ².

    Raises numpy.linalg.LinAlgError if the sums are not a Gram matrix.
    """
    age = max(now_ms / HALF_LIFE_MS - sums.landmark, 0.0)
    scale = 2.0**-age / SCALE
    gram = np.zeros((D, D))
    rows, columns = triangle(D)
    gram[rows, columns] = np.array(sums.gram, dtype=np.float64) * scale
    gram = gram + np.triu(gram, 1).T
    moment = np.array(sums.moment, dtype=np.float64) * scale
    precision = np.eye(D) / _PRIOR_VARIANCE + gram / NOISE
    # Outside `step`: what comes out is published as bytes, so no other processor computes it again.
    mean = np.linalg.solve(precision, _prior_mean() / _PRIOR_VARIANCE + moment / NOISE)  # noqa: TID251
    factor = np.linalg.cholesky(np.linalg.inv(precision))  # noqa: TID251
    return _version(mean, factor, sequence=sequence, n=sums.n, config=config)


def pmf(version: policy_pb2.PolicyVersion, x: Ints, *, silent: int, key: int) -> Choice:
    """A probability for each candidate and the one drawn.

    x: (K, D) in units of 1/64; `silent`: the row that says nothing, whose score is 0 and costs nothing; key: 128 bits.
    """
    mean, columns = _parameters(version.mean, version.factor)
    config = version.config
    raw = words(key=key, n=3 * DRAWS * D + 1)
    # A column is a draw of β; the last one, of a z of zeros, is the mean itself.
    z = np.zeros((D, 1, DRAWS + 1))
    z[:, 0, :DRAWS] = normals(raw[:-1], shape=(DRAWS, D)).T * (config.exploration / UNIT)
    # A feature that no candidate has adds nothing.
    had = np.flatnonzero(x.any(axis=0))
    beta = np.empty((len(had), DRAWS + 1))
    beta[:] = mean[had, None]
    _add_products(beta, z, columns[:, had, None])
    scores = np.full((len(x), DRAWS + 1), -config.interruption_cost / UNIT)
    _add_products(scores, (x.T[had] / UNIT)[:, :, None], beta[:, None])
    scores[silent] = 0.0
    whole = np.rint(scores * GRID)
    won = count_wins(whole[:, :DRAWS].T.astype(np.int64, order="C"))
    on_grid = tuple((whole[:, DRAWS] / GRID).tolist())
    return choose(won, floor_permille=config.floor_permille, word=int(raw[-1]), scores=on_grid)


def _add_products(total: Floats, left: Floats, right: Floats) -> None:
    """Adds left[i] x right[i] to the total for each i in turn: the order is what makes a sum the same everywhere.

    Products are made some at a time: fewer calls, and no more memory than the allocator keeps at hand.
    """
    some = max(PRODUCTS_MAX // max(total.size, 1), 1)
    for at in range(0, len(left), some):
        for product in left[at : at + some] * right[at : at + some]:
            total += product


def _prior_mean() -> Floats:
    return np.array([_PRIOR_MEAN.get(name, 0.0) for name in NAMES])


def _version(
    mean: Floats, factor: Floats, *, sequence: int, n: int, config: policy_pb2.DecisionConfig
) -> policy_pb2.PolicyVersion:
    version = policy_pb2.PolicyVersion(
        sequence=sequence,
        policy=NAME,
        feature_version=VERSION,
        config=config,
        mean=mean.astype("<f8").tobytes(),
        factor=factor.astype("<f8").tobytes(),
        n=n,
    )
    content = hashlib.blake2b(version.SerializeToString(deterministic=True), digest_size=8).hexdigest()
    version.version_id = f"{NAME}-{sequence}-{content}"
    return version


@lru_cache(maxsize=64)
def _parameters(mean: bytes, factor: bytes) -> tuple[Floats, Floats]:
    """The mean, and the columns of the factor."""
    return (
        np.frombuffer(mean, dtype="<f8").astype(np.float64),
        np.ascontiguousarray(np.frombuffer(factor, dtype="<f8").astype(np.float64).reshape(D, D).T),
    )

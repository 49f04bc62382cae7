"""How sums become a version: what all linear policies share. Runs in `learn`, so LAPACK, exp and log are free here."""

from __future__ import annotations

import numpy as np

from agents.policies.belief import GATE_OPEN, NOISE, Shape, epoch, epoch_name, packed
from oo.v1 import policy_pb2
from tables.linear import Floats
from tables.sums import KNOWN_FROM, LOSSES, SCALE, triangle
from tables.totals import Total

GATE_RATE = 2.8
"""How much a unit of loss saved opens the gate, in the exponent of a logistic."""
PEOPLE_PRIOR = 10.0
"""How many people the spread before the first counts for."""
PEOPLE_MIN = 10.0
"""People who must have shown something before their differences are believed."""
PEOPLE_GROWTH = 1.5
SPREAD_CHANGE = 0.15
"""An epoch ends when so many more people have spoken, or the spread they show has changed by this much of itself."""


def prior(name: str, *, shape: Shape, config: policy_pb2.DecisionConfig) -> policy_pb2.PolicyVersion:
    """The version in force before anything was learned; sequence 0, and no id yet."""
    d, mean = shape.d, packed(np.array(shape.mean))
    precision = packed(np.eye(shape.q) * (NOISE / shape.spread))
    return policy_pb2.PolicyVersion(
        policy=name,
        feature_version=shape.feature_version,
        config=config,
        mean=mean,
        factor=packed(np.eye(d) * np.sqrt(shape.variance)),
        precision=precision,
        epoch_mean=mean,
        epoch=epoch_name(precision=precision, mean=mean),
        gate=[GATE_OPEN] * (LOSSES // 2),
        noise=NOISE,
        half_life_ms=shape.half_life_ms,
    )


def fit(
    name: str,
    total: Total,
    *,
    shape: Shape,
    before: policy_pb2.PolicyVersion,
    config: policy_pb2.DecisionConfig,
    now_ms: int,
) -> policy_pb2.PolicyVersion:
    """The version that these sums teach, after `before`; without an id yet.

    β has the precision I/variance + G/σ² and the right side β₀/variance + g/σ², with G and g the people's own parts integrated out
    (tables.marginal). Raises numpy.linalg.LinAlgError if the sums are not a Gram matrix.
    """
    d, q = shape.d, shape.q
    scale = 1.0 / SCALE
    size = d * (d + 1) // 2
    numbers = np.asarray(total.contribution * scale, dtype=np.float64)
    gram, rest = _symmetric(numbers[:size], d), numbers[size:]
    moment, spread, people = rest[:d], rest[d : d + q * (q + 1) // 2], rest[-LOSSES - 1] * SCALE
    age = max(now_ms / shape.half_life_ms - total.landmark, 0.0)
    losses = np.asarray(rest[-LOSSES:] * 2.0**-age, dtype=np.float64)
    information = np.eye(d) / shape.variance + gram / NOISE
    right = np.asarray(np.array(shape.mean) / shape.variance + moment / NOISE, dtype=np.float64)
    mean = np.asarray(np.linalg.solve(information, right), dtype=np.float64)  # noqa: TID251
    factor = np.linalg.cholesky(np.linalg.inv(information))  # noqa: TID251
    version = policy_pb2.PolicyVersion(
        sequence=before.sequence + 1,
        policy=name,
        feature_version=shape.feature_version,
        config=config,
        mean=packed(mean),
        factor=packed(factor),
        precision=before.precision,
        epoch_mean=before.epoch_mean,
        epoch=before.epoch,
        epoch_people=before.epoch_people,
        gate=_gate(losses),
        noise=NOISE,
        half_life_ms=shape.half_life_ms,
        n=total.n,
    )
    if q and people >= PEOPLE_MIN:
        shown = _symmetric(spread, q) + PEOPLE_PRIOR * shape.spread * np.eye(q)
        shown = shown / (people + PEOPLE_PRIOR)
        believed = NOISE * np.linalg.inv(epoch(before).precision)  # noqa: TID251
        change = np.linalg.norm(shown - believed) / np.linalg.norm(believed)  # noqa: TID251
        if people >= PEOPLE_GROWTH * before.epoch_people or change > SPREAD_CHANGE:
            version.precision = packed(NOISE * np.linalg.inv(shown))  # noqa: TID251
            version.epoch_mean, version.epoch_people = version.mean, people
            version.epoch = epoch_name(precision=version.precision, mean=version.epoch_mean)
    return version


def _gate(losses: Floats) -> list[float]:
    """For each bucket the weight of a person's own part: a logistic of the loss that it saved."""
    buckets = len(KNOWN_FROM) + 1
    saved = np.clip(GATE_RATE * (losses[:buckets] - losses[buckets:]), -30.0, 30.0)
    return [float(one) for one in 1.0 / (1.0 + np.exp(-saved))]  # noqa: TID251


def _symmetric(upper: Floats, d: int) -> Floats:
    full = np.zeros((d, d))
    rows, columns = triangle(d)
    full[rows, columns] = upper
    return full + np.triu(full, 1).T

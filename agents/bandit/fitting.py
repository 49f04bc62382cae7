"""How sums become a version: what all linear policies share. Runs in `learn`, so LAPACK, exp and log are free here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.bandit.belief import GATE_OPEN, NOISE, Shape, epoch_name, packed
from oo.v1 import policy_pb2
from tables import marginal
from tables.linear import Floats
from tables.sums import KNOWN_FROM, LOSSES, SCALE, triangle
from tables.totals import Total

GATE_RATE = 2.8
"""How much a unit of loss saved opens the gate, in the exponent of a logistic."""
PEOPLE_PRIOR = 100.0
"""How many people the spread before the first counts for."""
PEOPLE_MIN = 10.0
"""People who must have shown something before their differences are believed."""
PEOPLE_SHARE = 0.5
"""Of all people, those who must have shown it in the epoch that ends."""


def prior(name: str, *, shape: Shape, config: policy_pb2.DecisionConfig) -> policy_pb2.PolicyVersion:
    """Return the version that is active before anything was learned; sequence 0, and no id yet."""
    mean, factor = packed(np.array(shape.mean)), np.eye(shape.d) * np.sqrt(shape.variance)
    factor[list(shape.unheard)] = 0.0
    precision = packed(np.eye(shape.q) * (NOISE / shape.spread))
    return policy_pb2.PolicyVersion(
        policy=name,
        feature_version=shape.feature_version,
        config=config,
        mean=mean,
        factor=packed(factor),
        precision=precision,
        epoch_mean=mean,
        epoch=epoch_name(precision=precision, mean=mean),
        gate=[GATE_OPEN] * (LOSSES // 2),
        noise=NOISE,
        half_life_ms=shape.half_life_ms,
    )


def fit(
    name: str,
    totals: Sequence[Total],
    *,
    shape: Shape,
    before: policy_pb2.PolicyVersion,
    config: policy_pb2.DecisionConfig,
    now_ms: int,
    discount: float = 1.0,
) -> policy_pb2.PolicyVersion:
    """Return the version that these sums teach, after `before`; without an id yet.

    β has the precision I/variance + G/σ² and the right side β₀/variance + g/σ², with G and g the people's own parts integrated out
    (tables.marginal); `discount` is what all of it is worth, as if that much older. Raises numpy.linalg.LinAlgError if the sums are not a Gram matrix.
    """
    d, q = shape.d, shape.q
    scale = 1.0 / SCALE
    size = d * (d + 1) // 2
    whole = np.zeros(marginal.size(d=d, q=q), dtype=np.int64)
    for total in totals:
        whole += total.contribution
    numbers = np.asarray(whole * scale, dtype=np.float64)
    gram, moment = _symmetric(numbers[:size], d), numbers[size : size + d]
    age = max(now_ms / shape.half_life_ms - (totals[0].landmark if totals else 0), 0.0)
    losses = np.asarray(numbers[-LOSSES:] * 2.0**-age, dtype=np.float64)
    weight = discount / before.noise
    information = np.eye(d) / shape.variance + gram * weight
    right = np.asarray(np.array(shape.mean) / shape.variance + moment * weight, dtype=np.float64)
    out = list(shape.unheard)
    information[out, :] = information[:, out] = right[out] = 0.0
    information[out, out] = 1.0
    mean = np.asarray(np.linalg.solve(information, right), dtype=np.float64)  # noqa: TID251
    factor = np.linalg.cholesky(np.linalg.inv(information))  # noqa: TID251
    factor[out, out] = 0.0
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
        noise=before.noise,
        half_life_ms=shape.half_life_ms,
        n=sum(total.n for total in totals),
        discount=discount,
    )
    _begin_epoch(version, totals, shape=shape, before=before)
    return version


def _begin_epoch(
    version: policy_pb2.PolicyVersion, totals: Sequence[Total], *, shape: Shape, before: policy_pb2.PolicyVersion
) -> None:
    """Let the version believe what the people of the epoch so far have shown, once enough of them have.

    One step of expectation-maximization (Laird & Ware 1982). People of epochs before count for β alone: their differences were
    taken from a β that is no longer believed.
    """
    d, q = shape.d, shape.q
    at, many = d * (d + 1) // 2 + d, q * (q + 1) // 2
    current = next((total for total in totals if total.epoch == before.epoch), None)
    people = float(current.contribution[at + many]) if current is not None else 0.0
    if not q or current is None or people < max(PEOPLE_MIN, PEOPLE_SHARE * sum(total.users for total in totals)):
        return
    spread = np.asarray(current.contribution[at : at + many] / SCALE, dtype=np.float64)
    shown = (_symmetric(spread, q) + PEOPLE_PRIOR * shape.spread * np.eye(q)) / (people + PEOPLE_PRIOR)
    if before.epoch_mean == packed(np.array(shape.mean)):
        # The first differences are from a β that nobody had taught: they only say where to take the next ones from.
        precision = before.precision
    else:
        precision = packed(np.asarray(before.noise * np.linalg.inv(shown), dtype=np.float64))  # noqa: TID251
    version.precision, version.epoch_mean, version.epoch_people = precision, version.mean, people
    version.epoch = epoch_name(precision=precision, mean=version.mean)


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

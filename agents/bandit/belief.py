"""What a policy version believes, unpacked once; and how its numbers stand in the version as bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple, Self

import numpy as np

from agents import sample
from oo.v1 import policy_pb2
from tables.linear import Floats
from tables.marginal import Epoch
from tables.sums import HALF_LIFE_MS, UNIT

NOISE = 0.18
"""σ²: variance of a reward about its mean."""
GATE_OPEN = 0.5
"""Before there is a loss to go by, half of what a person's own sums say."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a policy is told of the setting it works in, before anything is learned."""

    mean: tuple[float, ...]
    """β before anyone has reacted: (d,)."""
    q: int
    """How many features, the first ones, people are taken to differ in."""
    variance: float
    """Of each entry of β about that mean."""
    spread: float = 0.01
    """τ: of each entry of a person's own θ, before the people themselves have shown it."""
    feature_version: int = 0
    half_life_ms: int = HALF_LIFE_MS
    unheard: tuple[int, ...] = ()
    """The features that versions are fitted without, as if they were 0 in all decisions."""

    @property
    def d(self) -> int:
        """How many features."""
        return len(self.mean)


class Manner(NamedTuple):
    """How a policy is told to choose by what it believes."""

    cost: float
    """Of an interruption."""
    exploration: float
    """By how many deviations draws are spread;"""
    optimism: float
    """and by how many they are raised."""
    floor_permille: int
    """Of an even share, what each candidate has at the least."""

    @classmethod
    def of(cls, config: policy_pb2.DecisionConfig) -> Self:
        """Read it from a version's configuration."""
        return cls(
            config.interruption_cost / UNIT, config.exploration / UNIT, config.optimism / UNIT, config.floor_permille
        )


@dataclass(frozen=True, slots=True)
class Belief:
    """A version's numbers."""

    mean: Floats
    factor: Floats
    """The lower factor of the covariance of β: (d, d), and noughts up to a multiple of four columns."""
    epoch: Epoch
    gate: tuple[float, ...]
    """How far a person's own sums are listened to, by how much is known of them."""
    half_life_ms: int
    discount: float
    """What a person's own sums are worth."""
    manner: Manner


def belief(version: policy_pb2.PolicyVersion) -> Belief:
    """Unpacks a version's numbers."""
    mean = np.frombuffer(version.mean, dtype="<f8").astype(np.float64)
    d = len(mean)
    factor = np.zeros((d, -(-d // 4) * 4))
    factor[:, :d] = np.frombuffer(version.factor, dtype="<f8").reshape(d, d)
    return Belief(
        mean=mean,
        factor=factor,
        epoch=epoch(version),
        gate=tuple(version.gate),
        half_life_ms=version.half_life_ms,
        discount=version.discount or 1.0,
        manner=Manner.of(version.config),
    )


def epoch(version: policy_pb2.PolicyVersion) -> Epoch:
    """Return the belief about how people differ that stands in this version."""
    precision = np.frombuffer(version.precision, dtype="<f8").astype(np.float64)
    q = round(sqrt(len(precision)))
    return Epoch(
        precision=np.ascontiguousarray(precision.reshape(q, q)),
        mean=np.frombuffer(version.epoch_mean, dtype="<f8").astype(np.float64),
        noise=version.noise,
    )


def packed(values: Floats) -> bytes:
    """Little-endian float64, row by row."""
    return values.astype("<f8").tobytes()


def epoch_name(*, precision: bytes, mean: bytes) -> int:
    """Return what rows name an epoch by: 64 bits over its content."""
    return int.from_bytes(hashlib.blake2b(precision + mean, digest_size=8).digest(), "little")


def named(version: policy_pb2.PolicyVersion) -> policy_pb2.PolicyVersion:
    """Give a finished version its id, which holds a hash of all its content, and how its decisions are sampled."""
    content = hashlib.blake2b(version.SerializeToString(deterministic=True), digest_size=8).hexdigest()
    version.version_id = f"{version.policy}-{version.sequence}-{content}{sample.suffix(version.sample_permille)}"
    return version


def is_named(version: policy_pb2.PolicyVersion) -> bool:
    """Tell whether its id is one that `named` gives; an empty message's would take the place of the prior."""
    return bool(version.policy) and version.version_id.startswith(f"{version.policy}-{version.sequence}-")

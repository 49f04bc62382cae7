"""The policies by name: one algorithm a file, one line here.

A policy is two pure functions: `pmf`, a probability for each eligible candidate, and `fit`, a version out of sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agents.policies import lin_ts
from agents.policies.choice import Choice
from oo.v1 import policy_pb2, row_pb2

Ints = npt.NDArray[np.int64]


class Policy(Protocol):
    """What every policy module offers."""

    NAME: str

    def prior(self, *, config: policy_pb2.DecisionConfig) -> policy_pb2.PolicyVersion:
        """The version in force before anything was learned; sequence 0."""

    def fit(
        self, sums: row_pb2.Sums, *, sequence: int, config: policy_pb2.DecisionConfig, now_ms: int
    ) -> policy_pb2.PolicyVersion:
        """The version that these sums teach."""

    def pmf(self, version: policy_pb2.PolicyVersion, x: Ints, *, silent: int, key: int) -> Choice:
        """A probability for each row of x, and the one drawn. `silent` is the row that says nothing."""


POLICIES: Mapping[str, Policy] = {
    lin_ts.NAME: lin_ts,
}

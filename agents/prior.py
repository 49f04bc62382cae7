"""What is believed of tips before anyone has reacted, and how that becomes a version, then the next one.

Tips are welcome, urgent ones more, repeated ones less. It runs outside `step`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agents.bandit import fitting
from agents.bandit.belief import Shape, named
from agents.features import NAMES, NOW, SPACES, UNHEARD, Q, Space, feature_set, space_of
from agents.policies import DEFAULT as DEFAULT_POLICY
from agents.policies import POLICIES
from agents.reward import DEFAULT
from oo.v1 import journal_pb2, policy_pb2
from tables import marginal
from tables.totals import Total

_MEAN = {
    "task": 0.30,
    "starter": 0.25,
    "generated": 0.30,
    "priority": 0.15,
    "due_within_day": 0.20,
    "due_within_week": 0.05,
    "overdue": 0.05,
    "fits_gap": 0.05,
    "busy_now": -0.15,
    "shown": -0.10,
    "dismissed": -0.25,
}


def shape_of(space: Space, policy: str = DEFAULT_POLICY) -> Shape:
    """Return what this policy is told, where it sees these features, before anything is learned."""
    return Shape(
        mean=tuple(_MEAN.get(name, 0.0) for name in NAMES[: space.d]),
        q=Q,
        variance=0.04,
        feature_version=space.version,
        unheard=() if POLICIES[policy].hears else tuple(place for place in UNHEARD if place < space.d),
    )


SHAPE = shape_of(NOW)


def prior(
    policy: str = DEFAULT_POLICY, *, config: policy_pb2.DecisionConfig = DEFAULT, space: Space = NOW
) -> policy_pb2.PolicyVersion:
    """The version that is active before anything was learned.

    >>> prior().policy, prior().sequence
    ('mixed', 0)
    """
    return _finished(fitting.prior(policy, shape=shape_of(space, policy), config=config), space)


def fit(
    policy: str,
    totals: Sequence[Total],
    *,
    before: policy_pb2.PolicyVersion | None,
    config: policy_pb2.DecisionConfig,
    now_ms: int,
    discount: float = 1.0,
    inputs: Sequence[journal_pb2.Position] = (),
    sample_permille: int = 0,
    erasures: int = 0,
) -> policy_pb2.PolicyVersion:
    """The version that these totals, of any of SPACES, teach; `before`: the last one, None or one of features that are none of SPACES for
    none of ours. It sees what a version of this configuration sees.

    Raises numpy.linalg.LinAlgError if the totals are of no Gram matrices.
    """
    sequence, space = before.sequence if before is not None else 0, space_of(config)
    shape = shape_of(space, policy)
    if before is None or before.feature_version not in SPACES:
        before = fitting.prior(policy, shape=shape, config=config)
    elif before.feature_version != space.version:
        before = _carried(before, space)
    version = fitting.fit(
        policy,
        [_seen(one, space) for one in totals],
        shape=shape,
        before=before,
        config=config,
        now_ms=now_ms,
        discount=discount,
    )
    version.sequence = sequence + 1
    version.inputs.extend(inputs)
    version.sample_permille, version.erasures = sample_permille, erasures
    return _finished(version, space)


_D_OF = {marginal.size(d=one.d, q=Q): one.d for one in SPACES.values()}
"""How many features a total of so many numbers has."""


def _seen(total: Total, space: Space) -> Total:
    contribution = marginal.resized(total.contribution, d=_D_OF[len(total.contribution)], to=space.d)
    return replace(total, contribution=contribution)


def _carried(before: policy_pb2.PolicyVersion, space: Space) -> policy_pb2.PolicyVersion:
    """What the next version takes of one with fewer or more features: the same epoch, under its name, which believes nothing of new ones."""
    carried = policy_pb2.PolicyVersion()
    carried.CopyFrom(before)
    carried.epoch_mean = before.epoch_mean[: space.d * 8].ljust(space.d * 8, b"\0")
    return carried


def _finished(version: policy_pb2.PolicyVersion, space: Space) -> policy_pb2.PolicyVersion:
    version.features.CopyFrom(feature_set(space))
    return named(version)

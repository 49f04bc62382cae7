"""What a record is decided with: a policy version ready for use. It never changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from agents.bandit.belief import Belief, belief
from agents.features import FIRST, SPACES, Space
from agents.policies import POLICIES, Policy
from agents.prior import prior
from agents.reward import config_hash
from oo.v1 import policy_pb2


@dataclass(frozen=True, slots=True)
class ActiveVersion:
    """The version that the last mark named, and the key of decision ids."""

    version: policy_pb2.PolicyVersion
    belief: Belief
    """What stands in the version, unpacked."""
    space: Space
    """What it sees of a candidate."""
    policy: Policy
    mac_key: bytes
    config_hash: str

    @classmethod
    def first(cls, *, mac_key: bytes) -> Self:
        """Return what stands before a journal's first mark: the same for ever, so that a journal of before is folded as it was."""
        return cls.of(prior(space=FIRST), mac_key=mac_key)

    @classmethod
    def of(cls, version: policy_pb2.PolicyVersion, *, mac_key: bytes) -> Self:
        """Makes a version ready. Raises ValueError for one that this build cannot decide with.

        One of features that are none of SPACES says nothing of ours: until `learn` has made a new one, its settings are kept and what stood
        before anything was learned is believed.
        """
        space = SPACES.get(version.feature_version)
        if space is None:
            before = prior(config=version.config, space=FIRST)
            return cls._of(version, belief(before), FIRST, POLICIES[before.policy], mac_key=mac_key)
        policy = POLICIES.get(version.policy)
        if policy is None or not policy.servable:
            raise ValueError(
                f"version {version.version_id} is of the policy {version.policy!r}, which this build cannot serve"
            )
        return cls._of(version, belief(version), space, policy, mac_key=mac_key)

    @classmethod
    def _of(
        cls, version: policy_pb2.PolicyVersion, believed: Belief, space: Space, policy: Policy, *, mac_key: bytes
    ) -> Self:
        return cls(version, believed, space, policy, mac_key, config_hash(version.config))

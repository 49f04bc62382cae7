"""What another policy says at a logged decision: on the same slate of the same row, with the same draw. Its row is dropped.

Rows follow the logged choices alone: what people did about one choice says nothing about another one. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from agents.active_version import ActiveVersion
from agents.policies import POLICIES
from agents.step import Entry, step
from deploy.replay.manifest import RunError
from oo.v1 import decision_pb2, policy_pb2, row_pb2


@dataclass(slots=True)
class Other:
    """A policy, with the belief of whichever version was active, or of one that is named. Raises RunError where there is none."""

    policy: str
    """NAME or NAME@VERSION."""
    versions: Mapping[str, ActiveVersion]
    _made: dict[str, ActiveVersion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name, _, version = self.policy.partition("@")
        if name not in POLICIES or not POLICIES[name].servable:
            known = ", ".join(name for name, one in POLICIES.items() if one.servable)
            raise RunError(f"{name} cannot be evaluated on logged slates: there are {known}")
        if version and version not in self.versions:
            raise RunError(f"no version {version} was published: 'oo policies' names the newest")

    def says(self, before: row_pb2.UserRow | None, entry: Entry, version_id: str) -> decision_pb2.Decision:
        """Its decision at a record that led to one. `before`: the row then; `version_id`: the version that was active."""
        _, outputs = step(before, entry, self._in_place_of(version_id))
        assert outputs.decision is not None, "when a decision is due does not hang on the policy"
        return outputs.decision

    def _in_place_of(self, version_id: str) -> ActiveVersion:
        if version_id not in self._made:
            name, _, wanted = self.policy.partition("@")
            active, version = self.versions[version_id], policy_pb2.PolicyVersion()
            version.CopyFrom(active.version)
            version.policy = name
            believed = self.versions[wanted].belief if wanted else active.belief
            # What is believed is its own; when and among what is decided stays.
            self._made[version_id] = replace(
                active, version=version, belief=replace(believed, config=active.belief.config), policy=POLICIES[name]
            )
        return self._made[version_id]

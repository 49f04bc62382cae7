"""What another policy says at a logged decision: on the same slate of the same row, with the same draw. Its row is dropped.

Rows follow the logged choices alone: what people did about one choice says nothing about another one. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from agents.active_version import ActiveVersion
from agents.bandit.belief import Manner
from agents.policies import POLICIES
from agents.reward import config_hash
from agents.step import Entry, step
from deploy.replay.manifest import RunError
from oo.v1 import decision_pb2, policy_pb2, row_pb2


def settings_of(said: Iterable[str]) -> dict[str, int]:
    """Read `key=value` of oo.v1.DecisionConfig. Raises RunError for what is none of it.

    >>> settings_of(["cap_hour=4", "learn_expired=1"])
    {'cap_hour': 4, 'learn_expired': 1}
    """
    found, fields = dict[str, int](), policy_pb2.DecisionConfig.DESCRIPTOR.fields_by_name
    for one in said:
        name, _, value = one.partition("=")
        try:
            if name not in fields:
                raise RunError(f"there is no setting {name}: there are {', '.join(sorted(fields))}")
            found[name] = int(value)
            _changed(policy_pb2.DecisionConfig(), found)
        except (ValueError, TypeError) as error:
            raise RunError(f"--set {one}: {error}") from None
    return found


def _changed(config: policy_pb2.DecisionConfig, settings: Mapping[str, int]) -> policy_pb2.DecisionConfig:
    new = policy_pb2.DecisionConfig()
    new.CopyFrom(config)
    for name, value in settings.items():
        setattr(new, name, value)
    return new


@dataclass(slots=True)
class Other:
    """A policy, with the belief of whichever version was active, or of one that is named. Raises RunError where there is none."""

    policy: str
    """NAME or NAME@VERSION; empty for the one that was active."""
    versions: Mapping[str, ActiveVersion]
    settings: Mapping[str, int] = field(default_factory=dict)
    """Of its configuration, where they are others than those of the version that was active."""
    _made: dict[str, ActiveVersion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name, _, version = self.policy.partition("@")
        if name and (name not in POLICIES or not POLICIES[name].servable):
            known = ", ".join(name for name, one in POLICIES.items() if one.servable)
            raise RunError(f"{name} cannot be evaluated on logged slates: there are {known}")
        if version and version not in self.versions:
            raise RunError(f"no version {version} was published: 'oo policies' names the newest")

    def says(self, before: row_pb2.UserRow | None, entry: Entry, version_id: str) -> decision_pb2.Decision | None:
        """Its decision at a record. `before`: the row then; `version_id`: the version that was active.

        Whether one is due hangs on settings and not on the policy; the row follows the log, so later records are met as they were.
        """
        _, outputs = step(before, entry, self._in_place_of(version_id))
        return outputs.decision

    def _in_place_of(self, version_id: str) -> ActiveVersion:
        if version_id not in self._made:
            name, _, wanted = self.policy.partition("@")
            active, version = self.versions[version_id], policy_pb2.PolicyVersion()
            config = _changed(active.version.config, self.settings)
            version.CopyFrom(active.version)
            version.policy = name or active.policy.name
            version.config.CopyFrom(config)
            other = self.versions[wanted] if wanted else active
            # What is believed is its own; when and among what is decided stays, but for what was set.
            self._made[version_id] = replace(
                active,
                version=version,
                belief=replace(other.belief, manner=Manner.of(config)),
                space=other.space,
                policy=POLICIES[version.policy],
                config_hash=config_hash(config),
            )
        return self._made[version_id]

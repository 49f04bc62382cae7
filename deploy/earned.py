"""What is known of the policies: estimates, promotions, and the version that was made last. It only reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from agents import default
from oo.v1 import evaluation_pb2, policy_pb2
from streams.cluster import Cluster
from streams.frames import Frames
from streams.messages import read
from streams.reader import read_partition


class Standing(NamedTuple):
    """As it stands in the topics now."""

    estimates: list[evaluation_pb2.Estimate]
    """Every one that stands there, in the order in which they were made: the last of a policy, kind and prompt counts."""
    promotions: list[evaluation_pb2.Promotion]
    """In the order of time."""
    version: str
    """The version that was made last; empty before the first."""

    @property
    def champion(self) -> str:
        """The policy that decides."""
        return champion(self.promotions)

    @property
    def latest(self) -> list[evaluation_pb2.Estimate]:
        """The newest estimate of each policy, kind and prompt, in a fixed order."""
        found = {(one.policy, one.kind, one.prompt_version): one for one in self.estimates}
        return [one for _, one in sorted(found.items())]


def champion(promotions: Sequence[evaluation_pb2.Promotion]) -> str:
    """The policy that decides after these promotions, in the order of time."""
    return next((one.policy for one in reversed(promotions) if one.policy), default.POLICY)


def heard(promotions: Sequence[evaluation_pb2.Promotion]) -> str:
    """The trained model that decisions hear after these, NAME@VERSION; empty for none.

    >>> heard([evaluation_pb2.Promotion(model="tips@3"), evaluation_pb2.Promotion(policy="mixed")])
    'tips@3'
    """
    return next((one.model for one in reversed(promotions) if one.HasField("model")), "")


async def standing(cluster: Cluster) -> Standing:
    """Read the three topics."""
    estimates = [message async for message in _messages(cluster, "estimates")]
    version = await newest_version(cluster)
    return Standing(estimates, await promotions(cluster), "" if version is None else version.version_id)


async def newest_version(cluster: Cluster) -> policy_pb2.PolicyVersion | None:
    """The version that was made last; None before the first."""
    found = None
    async for message in _messages(cluster, "policies"):
        assert isinstance(message, policy_pb2.PolicyVersion)
        found = message
    return found


async def promotions(cluster: Cluster) -> list[evaluation_pb2.Promotion]:
    """Every promotion, in the order of time."""
    return [message async for message in _messages(cluster, "promotions")]


async def _messages(cluster: Cluster, name: str) -> AsyncIterator[Any]:
    schemas = Frames()
    async for records in read_partition(cluster, cluster.name(name), 0):
        for record in records:
            message = read(schemas, name, record)
            if message is not None:
                yield message

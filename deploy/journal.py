"""The journal of a stack as a fold needs it: with the versions that its marks mean, and what every fold reads first. It only reads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from agents import set_aside
from agents.active_version import ActiveVersion
from agents.bandit.belief import is_named
from connectors.leaving import leavers_of
from deploy.folding import Journal
from deploy.stack.running import RunningStack
from oo.v1 import policy_pb2
from streams.cluster import Cluster
from streams.frames import Frames
from streams.messages import messages
from streams.reader import read_partition, topic_id


async def whole_journal(stack: RunningStack) -> Journal:
    """The stack's journal, to be folded from its beginning, with all that a fold reads first."""
    cluster = stack.cluster
    journal_id = await topic_id(cluster, "journal")
    words = read_partition(cluster, cluster.name("set-aside"), 0)
    return Journal(
        cluster,
        topic_id=journal_id,
        versions=await _versions(cluster, mac_key=stack.mac_key_file.read_bytes()),
        kek_dir=stack.kek_dir,
        aside=await set_aside.passed_over(messages(Frames(), "set-aside", words), journal_id=journal_id),
        leavers=await leavers_of(cluster),
    )


async def newest_version(cluster: Cluster) -> policy_pb2.PolicyVersion | None:
    """The policy version of the greatest sequence; None before the first."""
    latest = None
    async for version in _published(cluster):
        if version.version_id and (latest is None or version.sequence >= latest.sequence):
            latest = version
    return latest


async def _versions(cluster: Cluster, *, mac_key: bytes) -> dict[str, ActiveVersion]:
    versions = {"": ActiveVersion.first(mac_key=mac_key)}
    async for version in _published(cluster):
        if is_named(version):
            # One that this build cannot serve is missed where a mark names it.
            with suppress(ValueError):
                versions[version.version_id] = ActiveVersion.of(version, mac_key=mac_key)
    return versions


async def _published(cluster: Cluster) -> AsyncIterator[policy_pb2.PolicyVersion]:
    records = read_partition(cluster, cluster.name("policies"), 0)
    async for _, version in messages(Frames(), "policies", records):
        if isinstance(version, policy_pb2.PolicyVersion):
            yield version

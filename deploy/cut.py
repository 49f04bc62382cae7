"""A cut: an offset per partition of the journal below which all that follows is out there. It asks Kafka how far its groups are, and stops nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from streams.cluster import Cluster
from streams.reader import committed, end_offsets

SETTLE_S = 120.0
"""How long to wait for the workers to have taken what stood in the topics."""

READERS = {
    "signals": "core",
    "reactions": "core",
    "subject-requests": "core",
    "journal": "core",
    "tips": "publish",
    "settings": "publish",
    "decisions": "record",
    "outcomes": "record",
    "erasures": "record",
}
"""Which process takes each topic, in the order that a record goes through them."""


class NotSettled(Exception):
    """The workers are behind: there is nothing to compare yet."""


async def cut(cluster: Cluster) -> dict[int, int]:
    """Cut the journal: return by partition an offset below which all that follows is in its topics, PostgreSQL and Valkey.

    What was acknowledged to anybody who wrote before this was called stands below. Raises NotSettled.
    """
    await _taken(cluster, ("signals", "reactions", "subject-requests"))
    await _taken(cluster, ("journal",))
    done = await committed(cluster, cluster.group("core"), cluster.name("journal"))
    await _taken(cluster, ("tips", "settings", "decisions", "outcomes", "erasures"))
    return {number: offset or 0 for number, offset in done.items()}


async def _taken(cluster: Cluster, names: Iterable[str]) -> None:
    """Return once their groups have committed what stands in these topics now."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + SETTLE_S
    left = {name: await end_offsets(cluster, cluster.name(name)) for name in names}
    while left:
        for name, ends in list(left.items()):
            taken = await committed(cluster, cluster.group(READERS[name]), cluster.name(name))
            if all((taken.get(number) or 0) >= end for number, end in ends.items()):
                del left[name]
        if left and loop.time() > until_s:
            raise NotSettled(
                f"the workers have not taken all that stood in {', '.join(left)} within {SETTLE_S:.0f} s: "
                "'oo status' shows which one is behind"
            )
        if left:
            await asyncio.sleep(0.3)


async def lag(cluster: Cluster, topic: str, reader: str) -> int:
    """Records of a topic that a group has yet to commit."""
    ends, taken = await end_offsets(cluster, topic), await committed(cluster, reader, topic)
    return sum(end - (taken.get(number) or 0) for number, end in ends.items())

"""A person's row as it stands in the changelog. It only reads."""

from __future__ import annotations

from agents.rows import read_rows
from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from oo.v1 import row_pb2
from streams.partitioner import partition_of
from streams.reader import read_partition, topic_id
from streams.sealing import open_row


async def row_of(stack: RunningStack, whose: str) -> row_pb2.UserRow | None:
    """The row of this pseudonym as it stands in the changelog."""
    cluster = stack.cluster
    partition = partition_of(whose.encode(), cluster.topics["rows"].partitions)
    journal_id = await topic_id(cluster, "journal")
    changelog = read_partition(cluster, cluster.name("rows"), partition, ours=True)
    message = (await read_rows(changelog, journal_id=journal_id)).get(whose)
    if message is None:
        return None
    keys = await read_keys(cluster, stack.kek_dir, partition=partition)
    return row_pb2.UserRow.FromString(open_row(message, whose=whose.encode(), keys=keys))

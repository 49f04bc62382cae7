"""A person's row as it stands in the changelog. It only reads.

Where a worker keeps rows on a disk of this machine, that has all but the changelog's last few; else a partition's changelog is read whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from agents.rows import head, order_in
from deploy.keys import read_keys
from deploy.stack.running import RunningStack
from oo.v1 import row_pb2
from streams.partitioner import partition_of
from streams.reader import read_values, topic_ids
from streams.sealing import Keys, open_row
from streams.wire import payload
from tables.store import MemoryStore
from tables.table import Pairs, merge

if TYPE_CHECKING:
    from tables.rocks import Seen


async def row_of(
    stack: RunningStack, whose: str, *, keys: Keys | None = None, on_disk: bool = True
) -> row_pb2.UserRow | None:
    """The row of this pseudonym as it stands in the changelog now. `keys`: those of its partition, where they were read already.

    `on_disk`: look at workers' disks first, which imports what is heavy: RocksDB, and what decides.
    """
    cluster, key = stack.cluster, whose.encode()
    partition = partition_of(key, cluster.topics["rows"].partitions)
    names = {name: cluster.name(name) for name in ("journal", "rows")}
    ids = await topic_ids(cluster, list(names.values()))
    journal_id, rows_id = ids[names["journal"]], ids[names["rows"]]
    store, order = MemoryStore(head=head), order_in(journal_id)
    seen = None
    if on_disk:
        seen = await asyncio.to_thread(_on_disk, stack, partition, key, journal_id=journal_id, rows_id=rows_id)
    if seen is not None:
        store.write({key: seen.value}, checkpoint=seen.checkpoint)
    changelog = read_values(cluster, names["rows"], partition, start=store.checkpoint or 0)
    await merge(_of(changelog, key), store, head=head, order=order)
    framed = store.get(key)
    if framed is None:
        return None
    keys = keys or await read_keys(cluster, stack.kek_dir, partition=partition)
    return row_pb2.UserRow.FromString(open_row(payload(framed), whose=key, keys=keys))


def _on_disk(stack: RunningStack, partition: int, key: bytes, *, journal_id: bytes, rows_id: bytes) -> Seen | None:
    """What this machine's workers have of a key: of the disk that is farthest, since a partition that moved leaves an older one behind."""
    from agents.disks import disks_in

    folders = (path.parent for path in (stack.folder.root / "data").glob("core*/rows")) if stack.ports else ()
    disks = [disks_in(folder, journal_id=journal_id, rows_id=rows_id) for folder in folders]
    found = [one for disk in disks if (one := disk.look(partition, key)) is not None]
    return max(found, key=lambda one: one.checkpoint, default=None)


async def _of(changelog: AsyncIterator[Pairs], key: bytes) -> AsyncIterator[Pairs]:
    async for records in changelog:
        yield [one for one in records if one[0] == key]

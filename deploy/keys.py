"""People's keys for operators' commands: read from their topic once, opened with the key-encryption keys of the stack.

It makes none, and writes nothing.
"""

from __future__ import annotations

from pathlib import Path

from connectors.key_files import KeyFiles
from streams.cluster import Cluster
from streams.keys import Keys


async def read_keys(cluster: Cluster, kek_dir: Path, *, partition: int | None = None) -> Keys:
    """All that stand in the topic now, or those of one partition."""
    keys = Keys.of(cluster, KeyFiles(kek_dir))
    if partition is None:
        await keys.catch_up()
        return keys
    await keys.take_partition(partition)
    return keys

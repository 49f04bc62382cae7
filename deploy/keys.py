"""People's keys for operators' commands: read from their topic, opened with the key-encryption keys of the stack.

It makes none, and writes nothing.
"""

from __future__ import annotations

import asyncio
import threading
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


class HeldKeys:
    """Keys for a process that is asked again and again: of each partition that was asked for, only what is new is read. For any thread."""

    def __init__(self, cluster: Cluster, kek_dir: Path) -> None:
        self._lock = threading.Lock()
        self._keys = Keys.of(cluster, KeyFiles(kek_dir))

    def of(self, partition: int) -> Keys:
        """With all that stands in this partition of the topic now."""
        with self._lock:
            asyncio.run(self._keys.take_partition(partition))
        return self._keys

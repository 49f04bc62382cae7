"""Where a process keeps its partitions' rows on its own disk, and what they are of. It opens none."""

from __future__ import annotations

from pathlib import Path

from agents.features import VERSION
from agents.rows import head
from tables.rocks import Rocks


def disks_in(data_dir: Path, *, journal_id: bytes, rows_id: bytes) -> Rocks:
    """The disks of the process whose data folder this is: of these topics, and of the features of this build."""
    identity = f"{journal_id.hex()} {rows_id.hex()} features {VERSION}"
    return Rocks(data_dir / "rows", identity=identity.encode(), head=head)

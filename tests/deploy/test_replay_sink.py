"""What a run writes: rows a group after the other, and behind each part everybody's row, whoever has a key."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agents.step import STEP_VERSION
from connectors.key_files import KeyFiles
from deploy.folding import NOBODY, read_snapshot
from deploy.replay.manifest import Manifest, Run, RunError
from deploy.replay.sink import GROUP_ROWS, Sink, read
from oo.v1 import journal_pb2, row_pb2, snapshot_pb2
from streams.cluster import Cluster
from streams.keys import Keys
from tests.agents.build import Person, task


@pytest.fixture
def run(tmp_path: Path) -> Run:
    one = Run(tmp_path / "replays", "one")
    one.create(Manifest(one.name, "00", {0: 0}, {0: 1}, {}, STEP_VERSION, build=""))
    return one


def test_a_part_is_written_a_group_after_the_other_and_is_not_there_before_it_is_whole(run: Run) -> None:
    told = [{"user": f"{at:09}", "journal_offset": at, "digest": bytes(16)} for at in range(2 * GROUP_ROWS + 1)]

    def breaks() -> Iterator[dict[str, Any]]:
        yield from told
        raise RuntimeError

    sink, path = Sink(run, 0), run.folder / "partition-0" / f"rows-{7:020}.parquet"
    with pytest.raises(RuntimeError):
        sink.write("rows", 7, breaks())
    assert not path.exists()
    sink.write("rows", 7, iter(told))
    assert list(read(run, 0, "rows")) == told
    assert pq.ParquetFile(path).num_row_groups == 3


def test_a_row_of_whom_nothing_was_ever_sealed_is_put_away_as_it_is(run: Run, tmp_path: Path) -> None:
    """A journal that an older build began has people who never had a key."""
    files = KeyFiles(tmp_path / "kek")
    files.make()
    keys, ada = Keys.of(Cluster("127.0.0.1:1"), files), Person()
    ada.take(task("a"))
    assert ada.row is not None
    row = ada.row.SerializeToString(deterministic=True)
    about = snapshot_pb2.Snapshot(journal=journal_pb2.Position(offset=1))
    behind = Sink(run, 0).finish(about, [("ada", row)], row_pb2.PartitionRow(), keys=keys)
    assert read_snapshot(behind.path, keys=keys, leavers=NOBODY)[1] == {"ada": row}


def test_a_run_begins_though_somebody_asks_for_its_state_at_that_moment_and_not_beside_another(run: Run) -> None:
    asking = os.open(run.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(asking, fcntl.LOCK_EX)
    asked = threading.Timer(0.1, os.close, [asking])
    asked.start()
    with run.held():
        asked.join()
        assert run.state() == "running"
        with pytest.raises(RunError, match="runs already"), run.held():
            pass

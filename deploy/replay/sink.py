"""The one writer of a replay: Parquet below its run's folder, and nothing else. It knows no server, and cannot be given another place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from agents.rows import MARKS_KEY
from deploy.replay.manifest import Run
from oo.v1 import row_pb2, snapshot_pb2
from oo.v1.decision_pb2 import Decision
from oo.v1.outcome_pb2 import Outcome
from streams.sealing import NO_KEYS, KeyMissing, Keys, seal, seal_row
from streams.wire import header
from tables.snapshots import Snapshot, Writer

DECISIONS = pa.schema(
    [
        ("offset", pa.int64()),
        ("decision_id", pa.string()),
        ("user", pa.string()),
        ("decided_ms", pa.int64()),
        ("policy", pa.string()),
        ("policy_version", pa.string()),
        ("kind", pa.int32()),
        # In the whole slate; what follows is of those candidates that could be drawn.
        ("chosen", pa.int32()),
        ("propensity", pa.float64()),
        ("action", pa.int32()),
        ("kinds", pa.list_(pa.int32())),
        ("propensities", pa.list_(pa.float64())),
        # What each is expected to be worth.
        ("scores", pa.list_(pa.float64())),
        # Of the one that was drawn: a byte for each, in units of 1/64.
        ("features", pa.binary()),
        ("unshared", pa.bool_()),
        ("digest", pa.binary(16)),
        # Of an evaluation: what the other policy says on the same slate.
        ("other_action", pa.int32()),
        ("other_propensities", pa.list_(pa.float64())),
        ("other_scores", pa.list_(pa.float64())),
        ("other_features", pa.binary()),
    ]
)
OUTCOMES = pa.schema(
    [
        ("offset", pa.int64()),
        ("outcome_id", pa.string()),
        ("decision_id", pa.string()),
        ("user", pa.string()),
        ("event_time_ms", pa.int64()),
        ("kind", pa.int32()),
        ("reward", pa.float64()),
        ("digest", pa.binary(16)),
    ]
)
REQUESTS = pa.schema(
    [
        ("offset", pa.int64()),
        ("request_id", pa.string()),
        ("user", pa.string()),
        ("requested_ms", pa.int64()),
        ("reason", pa.int32()),
        ("digest", pa.binary(16)),
    ]
)
ROWS = pa.schema([("user", pa.string()), ("journal_offset", pa.int64()), ("digest", pa.binary(16))])
READ_AT_ONCE = 1_000
GROUP_ROWS = 2_000
"""What is in memory of a part before it is written: a row group."""
# Where another configuration decides and the log did not.
UNLOGGED = pa.schema([("offset", pa.int64()), ("user", pa.string())])
# What goes to topics of the run's own: as live ones have it, sealed.
SEALED = pa.schema([("user", pa.string()), ("id", pa.string()), ("message", pa.binary())])
SCHEMAS = {
    "decisions": DECISIONS,
    "outcomes": OUTCOMES,
    "requests": REQUESTS,
    "rows": ROWS,
    "unlogged": UNLOGGED,
    "sealed-decisions": SEALED,
    "sealed-outcomes": SEALED,
}


class Part:
    """A file of a run that is being written, a row group after the other."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer, self._rows = writer, list[Mapping[str, Any]]()

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put these behind the others."""
        for one in rows:
            self._rows.append(one)
            if len(self._rows) >= GROUP_ROWS:
                self.write()

    def write(self) -> None:
        """Write those that are in memory."""
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._rows.clear()


class Sink:
    """What a run writes of one partition: parts, each whole or not there, and behind each the rows to go on with.

    Raises TypeError for anything but a Run.
    """

    def __init__(self, run: Run, partition: int) -> None:
        if type(run) is not Run:
            raise TypeError(f"a replay writes into its run's folder, and into no {type(run).__name__}")
        self._folder = run.folder / f"partition-{partition}"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._partition = partition

    def taken(self) -> Snapshot | None:
        """The rows behind the last part that is whole; None before the first."""
        found = sorted(self._folder.glob("*.rows"))
        return self._snapshot(found[-1]) if found else None

    @contextmanager
    def part(self, kind: str, end: int) -> Iterator[Part]:
        """A part that ends before this offset; it is there once this is left, whole. The same rows give the same bytes."""
        path = self._folder / f"{kind}-{end:020}.parquet"
        unfinished = path.with_suffix(".part")
        with pq.ParquetWriter(unfinished, SCHEMAS[kind], compression="zstd") as writer:
            part = Part(writer)
            yield part
            part.write()
        unfinished.rename(path)

    def write(self, kind: str, end: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a part of these."""
        with self.part(kind, end) as part:
            part.add(rows)

    def finish(
        self,
        about: snapshot_pb2.Snapshot,
        rows: Iterable[tuple[str, bytes]],
        marks: row_pb2.PartitionRow,
        *,
        keys: Keys,
    ) -> Snapshot:
        """Put these people's rows away, sealed: what stands before this offset is done, and rows of before are not needed."""
        before, path = sorted(self._folder.glob("*.rows")), self._folder / f"{about.journal.offset + 1:020}.rows"
        writer = Writer(path, about)
        try:
            front = header(0, 0)
            if marks.topic_id:  # There was one.
                writer.add([(MARKS_KEY, front + marks.SerializeToString(deterministic=True))])
            for user, row in rows:
                whose = user.encode()
                is_open = row_pb2.UserRow.FromString(row).HasField("left")
                writer.add([(whose, front + (row if is_open else _sealed(row, whose=whose, keys=keys)))])
            writer.finish()
        finally:
            writer.abandon()
        for one in before:
            if one != path:
                one.unlink()
        return self._snapshot(path)

    def _snapshot(self, path: Path) -> Snapshot:
        return Snapshot(self._partition, int(path.stem) - 1, 0, path, verified=True)


def sealed_row(message: Decision | Outcome, name: str, keys: Keys) -> dict[str, Any]:
    """A decision or an outcome as its topic has it, but for the frame. `name`: its own id."""
    whose, inside = message.user_id.encode(), message
    if keys is not NO_KEYS:
        with suppress(KeyMissing):  # As below.
            inside = seal(message, whose=whose, keys=keys)
    return {"user": message.user_id, "id": name, "message": inside.SerializeToString(deterministic=True)}


def _sealed(row: bytes, *, whose: bytes, keys: Keys) -> bytes:
    if keys is NO_KEYS:
        return row
    try:
        return seal_row(row, whose=whose, keys=keys)
    except KeyMissing:
        # Of somebody of whom nothing was ever sealed, or it would not have been opened: their words stand in the journal as they are.
        return row


def has(run: Run, partition: int, kind: str) -> bool:
    """Whether it wrote any of these, even none: a run of a build of before lacks some kinds."""
    return any((run.folder / f"partition-{partition}").glob(f"{kind}-*.parquet"))


def read(run: Run, partition: int, kind: str) -> Iterator[dict[str, Any]]:
    """What was written of a partition, in the order of the journal, some at a time."""
    for path in sorted((run.folder / f"partition-{partition}").glob(f"{kind}-*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(READ_AT_ONCE):
                yield from batch.to_pylist()

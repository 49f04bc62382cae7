"""The context fold on Quix Streams, in RocksDB with a changelog: `quix.py JSON` (see ../throughput.py)."""

from __future__ import annotations

import json
import sys

from fold import Clock, fold
from quixstreams import Application, State, message_context

from oo.v1 import row_pb2


def main(orders: dict) -> None:
    clock = Clock()
    app = Application(
        broker_address=orders["bootstrap"],
        consumer_group=orders["group"],
        auto_offset_reset="earliest",
        state_dir=orders["folder"],
        commit_interval=orders["commit_interval_s"],
        loglevel="WARNING",
    )
    source = app.topic(orders["source"], key_deserializer="bytes", value_deserializer="bytes")

    def update(value: bytes, state: State) -> None:
        clock.begin()
        row = row_pb2.UserRow()
        before = state.get_bytes("row")
        if before is not None:
            row.ParseFromString(before)
        fold(row, value, offset=message_context().offset)
        state.set_bytes("row", row.SerializeToString())

    app.dataframe(source).update(update, stateful=True)
    # Ends with a forced checkpoint: state and changelog flushed, offsets committed.
    app.run(count=orders["events"])
    clock.done()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

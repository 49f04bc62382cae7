"""The worker, but that it ends once at a given step of an erasure: a hook that exists nowhere in the product.

    OO_ENDS_AT=folded python -m tests.faults.leaving core

`folded`: the erasure is about to be folded. `said`: what it gave is acknowledged, and its stub is not written. `written`: the stub is
acknowledged, and nothing is committed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents import erasure, worker
from agents.assigned import Assigned
from oo.v1.row_pb2 import UserRow
from streams.wire import payload
from tables.table import Table

STEPS = ("folded", "said", "written")


def main() -> None:
    at, once = os.environ["OO_ENDS_AT"], Path(os.environ["OO_DATA_DIR"]).with_suffix(".ended")
    stub, send, commit = erasure.stub, Table.send, Assigned.commit

    def end(step: str) -> None:
        if step == at and not once.exists():
            once.touch()
            os._exit(9)

    def ending_stub(*told: Any, **named: Any) -> UserRow:
        end("folded")
        return stub(*told, **named)

    def ending_send(self: Table, values: Mapping[bytes, bytes]) -> Any:
        if _has_a_stub(values):
            end("said")
        return send(self, values)

    def ending_commit(self: Assigned, values: Mapping[bytes, bytes]) -> None:
        if _has_a_stub(values):
            end("written")
        commit(self, values)

    erasure.stub = ending_stub
    Table.send = ending_send  # type: ignore[method-assign]
    Assigned.commit = ending_commit  # type: ignore[method-assign]
    worker.main()


def _has_a_stub(values: Mapping[bytes, bytes]) -> bool:
    return any(UserRow.FromString(payload(value)).HasField("left") for key, value in values.items() if key[:1] != b"\0")


if __name__ == "__main__":
    main()

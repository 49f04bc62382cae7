"""What one `step` costs in processor time, for the people of row_bytes: `python -m tests.bench.step_cost`.

The least of many short turns, so that a loaded machine says nearly what an idle one does. It starts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from agents.step import Entry, step
from oo.v1 import row_pb2
from tests.agents.build import PRIOR, Payload, activity, entry, task
from tests.bench.row_bytes import LIVES, live

TURNS = 40
TURN = 25


def main() -> None:
    """Print a line for each life."""
    print(f"{'µs':10}{'no decision':>14}{'a decision':>14}{'its slate':>12}{'parse':>10}{'serialize':>12}")
    for name, life in LIVES.items():
        row = live(life)
        nothing_new = _next(row, activity(user=row.user_id))
        standing, _ = step(row, nothing_new, PRIOR)
        assert standing is not None
        again = _next(standing, activity(user=row.user_id))
        urgent = _next(
            standing, task("urgent", priority=1, due_ms=standing.now_ms + 600_000, minutes=5, user=row.user_id)
        )
        assert step(standing, again, PRIOR)[1].decision is None
        decision = step(standing, urgent, PRIOR)[1].decision
        assert decision is not None
        raw = row.SerializeToString(deterministic=True)
        print(
            f"{name:10}"
            f"{least_us(step, standing, again, PRIOR):14.0f}"
            f"{least_us(step, standing, urgent, PRIOR):14.0f}"
            f"{len(decision.slate):12}"
            f"{least_us(row_pb2.UserRow.FromString, raw):10.1f}"
            f"{least_us(row.SerializeToString):12.1f}"
        )


def least_us(act: Callable[..., object], *given: object) -> float:
    """Microseconds of processor time of one call: the best turn's mean."""
    turns = []
    for _ in range(TURNS):
        began_ns = time.process_time_ns()
        for _ in range(TURN):
            act(*given)
        turns.append(time.process_time_ns() - began_ns)
    return min(turns) / TURN / 1000


def _next(row: row_pb2.UserRow, payload: Payload) -> Entry:
    return entry(
        payload, offset=row.journal_offset + 1, time_ms=row.now_ms + 1000, user=row.user_id, event_id=f"{row.now_ms}"
    )


if __name__ == "__main__":
    main()

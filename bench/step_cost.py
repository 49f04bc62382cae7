"""What one `step` costs in processor time, for the people of row_bytes, and what the door costs before it.

`python -m bench.step_cost`. The least of many short turns, so that a loaded machine says nearly what an idle one
does. It starts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import protovalidate
from google.protobuf.message import Message

from agents.admission import Door
from agents.step import Entry, step
from bench.row_bytes import LIVES, live
from oo.v1 import decision_pb2, outcome_pb2, row_pb2
from streams.frames import Frames
from streams.record import Record
from tables import ids
from tests.agents.build import MAC_KEY, MONDAY_MS, PRIOR, SIGNALS_ID, Payload, activity, entry, reaction, task

TURNS = 40
TURN = 25


def main() -> None:
    """Print a line for each life, and one for the door."""
    heads = ("no decision", "a decision", "a reaction", "its slate", "parse", "serialize")
    print(f"{'µs':10}" + "".join(f"{head:>13}" for head in heads))
    for name, life in LIVES.items():
        print(f"{name:10}" + "".join(f"{value:13.0f}" for value in costs(live(life))))
    print("the door:  " + ", ".join(f"{what} {us:.1f}" for what, us in door_costs().items()))


def costs(row: row_pb2.UserRow) -> tuple[float, ...]:
    """Of steps on this row, in the order of the columns."""
    standing, _ = step(row, _next(row, activity(user=row.user_id)), PRIOR)
    assert standing is not None
    again = _next(standing, activity(user=row.user_id))
    urgent = _next(standing, task("urgent", priority=1, due_ms=standing.now_ms + 600_000, minutes=5, user=row.user_id))
    tip = next(one for one in reversed(standing.pending) if _can_be_learned(one))
    snoozed = _next(standing, reaction(ids.spelled(tip.decision_id), "SNOOZE", user=row.user_id))
    assert step(standing, again, PRIOR)[1].decision is None
    assert step(standing, snoozed, PRIOR)[1].outcomes[-1].learned
    decision = step(standing, urgent, PRIOR)[1].decision
    assert decision is not None
    raw = row.SerializeToString(deterministic=True)
    return (
        *(least_us(step, standing, one, PRIOR) for one in (again, urgent, snoozed)),
        len(decision.slate),
        least_us(row_pb2.UserRow.FromString, raw),
        least_us(row.SerializeToString),
    )


def door_costs() -> dict[str, float]:
    """Of one new task, from its frame to the journal's."""
    schemas, door = Frames(), Door(protovalidate.Validator(), MAC_KEY)
    signal = task("1", title="Call the dentist", priority=1, due_ms=MONDAY_MS, minutes=5)
    signal.event_id = "e1"
    value = schemas.frame("signals", signal)
    record = Record("oo.signals", 1, 5, MONDAY_MS, b"ada", value)

    def admit() -> Message:
        return door.admit(signal, record, topic_id=SIGNALS_ID, now_ms=MONDAY_MS)

    return {
        "unframe": least_us(schemas.unframe, "signals", value),
        "admit": least_us(admit),
        "frame": least_us(schemas.frame, "journal", admit()),
    }


def least_us(act: Callable[..., object], *given: object) -> float:
    """Microseconds of processor time of one call: the best turn's mean."""
    turns = []
    for _ in range(TURNS):
        began_ns = time.process_time_ns()
        for _ in range(TURN):
            act(*given)
        turns.append(time.process_time_ns() - began_ns)
    return min(turns) / TURN / 1000


def _can_be_learned(pending: row_pb2.PendingDecision) -> bool:
    return (
        pending.kind == decision_pb2.Decision.TASK
        and pending.outcome == outcome_pb2.Outcome.KIND_UNSPECIFIED
        and len(pending.x) > 0
    )


def _next(row: row_pb2.UserRow, payload: Payload) -> Entry:
    return entry(
        payload, offset=row.journal_offset + 1, time_ms=row.now_ms + 1000, user=row.user_id, event_id=f"{row.now_ms}"
    )


if __name__ == "__main__":
    main()

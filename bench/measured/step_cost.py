"""What one `step` costs in processor time, and what surrounds it: the best of a turn's short runs, in microseconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import protovalidate

from agents.admission import Door
from agents.step import Entry, step
from bench.lives import LIVES, Life, lived
from bench.measured import turns
from bench.measured.older import Frames, spelled_out, under
from oo.v1 import decision_pb2, outcome_pb2, row_pb2
from streams.record import Record
from tables import ids
from tests.agents.build import MAC_KEY, MONDAY_MS, PRIOR, SIGNALS_ID, Payload, activity, entry, reaction, task

RUNS = 8
CALLS = 25


def people() -> Iterator[tuple[str, Life]]:
    """Each of the lives, with the eight titles and with titles that differ."""
    for name, life in LIVES.items():
        yield name, life
        yield f"{name}, titles differ", replace(life, titles_differ=True)


def entries(life: Life) -> tuple[row_pb2.UserRow, dict[str, Entry]]:
    """A row, and the records that are folded into it: one without a decision, one with, and a reaction."""
    somebody = lived(life)
    somebody.take(activity(user=somebody.user))
    now, standing = somebody.now, somebody.row
    assert standing is not None
    tip = next(one for one in reversed(now.pending) if _can_be_learned(one))

    def following(payload: Payload) -> Entry:
        offset, time_ms = now.journal_offset + 1, now.now_ms + 1000
        return entry(payload, offset=offset, time_ms=time_ms, user=now.user_id, event_id=f"{now.now_ms}")

    urgent = task("urgent", priority=1, due_ms=now.now_ms + 600_000, minutes=5, user=now.user_id)
    return standing, {
        "no decision": following(activity(user=now.user_id)),
        "a decision": following(urgent),
        "a reaction": following(reaction(ids.spelled(tip.decision_id), "SNOOZE", user=now.user_id)),
    }


def _can_be_learned(pending: row_pb2.PendingDecision) -> bool:
    return (
        pending.kind == decision_pb2.Decision.TASK
        and pending.outcome == outcome_pb2.Outcome.KIND_UNSPECIFIED
        and len(pending.x) > 0
    )


def around(rows: Mapping[str, row_pb2.UserRow]) -> dict[str, float]:
    """What a row costs to parse and to write, and the door a new task from its frame to the journal's."""
    frames, door = Frames(), Door(protovalidate.Validator(), MAC_KEY)
    signal = task("1", title="Call the dentist", priority=1, due_ms=MONDAY_MS, minutes=5)
    signal.event_id = "e1"
    value = frames.frame("signals", signal)
    record = Record("oo.signals", 1, 5, MONDAY_MS, b"ada", value)

    def admitted() -> None:
        frames.unframe("signals", value)
        frames.frame(
            "journal", door.admit(signal, record, topic_id=SIGNALS_ID, now_ms=MONDAY_MS, **under(signal.user_id))
        )

    costs = {"the door": least_us(admitted)}
    for name, row in rows.items():
        costs[f"{name}: parse"] = least_us(row_pb2.UserRow.FromString, row.SerializeToString(deterministic=True))
        costs[f"{name}: serialize"] = least_us(row.SerializeToString)
    return costs


def least_us(act: Callable[..., object], *given: object, runs: int = RUNS) -> float:
    """Microseconds of processor time of one call: the best run's mean."""
    took = []
    for _ in range(runs):
        began_ns = time.process_time_ns()
        for _ in range(CALLS):
            act(*given)
        took.append(time.process_time_ns() - began_ns)
    return min(took) / CALLS / 1000


def main() -> None:
    found = {name: entries(life) for name, life in people()}
    sizes: dict[str, float] = {}
    for name, (row, records) in found.items():
        assert step(row, records["no decision"], PRIOR)[1].decision is None
        assert step(row, records["a reaction"], PRIOR)[1].outcomes[-1].learned
        decision = step(row, records["a decision"], PRIOR)[1].decision
        assert decision is not None
        slate = spelled_out(decision)
        sizes[f"{name}: slate"] = len(slate)
        sizes[f"{name}: eligible"] = sum(not one.ineligible for one in slate)

    def turn() -> turns.Numbers:
        costs = {
            f"{name}: {what}": least_us(step, row, one, PRIOR)
            for name, (row, records) in found.items()
            for what, one in records.items()
        }
        return {**sizes, **costs, **around({name: row for name, (row, _) in found.items() if name in LIVES})}

    turns.answer(turn)


if __name__ == "__main__":
    main()

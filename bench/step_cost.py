"""What one `step` costs in processor time, beside the build before, in turns; and where the time of a decision goes.

Slates of 10, 35 and 44 (of 200) candidates, of people with eight titles and with titles that differ. Of single calls the least
counts, so that a loaded machine says nearly what an idle one does. A part of a decision that passes its budget by half fails
the run. It starts no server.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.builds import Numbers, in_turns
from bench.lives import LIVES
from bench.measured import step_cost, step_parts
from bench.result import Bench, Result, Row, compared, slug

TURNS = 6
DECISION_AT_MOST = {"light": 0.30, "typical": 0.25, "heavy": 0.15}
AT_MOST = {"no decision": 0.4, "a reaction": 0.35}
BUDGET_US = {
    "columns to features, mask, rank and duplicates": 5.0,
    "posterior, random words and draws": 30.0,
    "slate and messages": 35.0,
    "ids": 8.0,
    step_parts.REST: 80.0,
}
"""Of a decision among 35 candidates, on two shared cores."""
PASSED_AT_MOST = 1.5


def measure(bench: Bench) -> Result:
    """Microseconds of a step now and before, and of a decision's parts beside their budgets."""
    turns = 2 if bench.quick else TURNS
    found = in_turns(bench, step_cost.__name__, turns=turns)
    before, now = (_least(found[side]) for side in ("before", "now"))
    parts = _least(in_turns(bench, step_parts.__name__, turns=turns, alone=True)["now"])
    rows = [*_steps(before, now, bench.against), *_parts(parts)]
    over = [row.what for row in rows if row.id.startswith("step-part") and row.met is False]
    return Result(rows, failed=f"past its budget by half: {'; '.join(over)}" if over else "")


def _steps(before: Numbers, now: Numbers, against: str) -> Iterator[Row]:
    for name, life in step_cost.people():
        slate = f"{now[f'{name}: slate']:.0f} candidates, {now[f'{name}: eligible']:.0f} eligible"
        told = f"{before[f'{name}: slate']:.0f} candidates, {before[f'{name}: eligible']:.0f} eligible"
        of = f" of {life.tasks}" if life.tasks > 100 else ""
        for what, most in (("a decision", DECISION_AT_MOST[name.split(",")[0]]), *AT_MOST.items()):
            key = f"{name}: {what}"
            yield compared(
                f"step-{slug(key)}",
                f"step, {what}: {slate}{of}, {'titles that differ' if life.titles_differ else 'eight titles'}",
                now[key],
                "µs",
                peer=before[key],
                peer_name=f"{against}, {told}" if told != slate else against,
                at_most=most,
            )
    for key in ("the door", *(f"{name}: {what}" for name in LIVES for what in ("parse", "serialize"))):
        name, _, what = key.partition(": ")
        said = f"{what} the {name} row" if what else "admission of a new task, from its frame to the journal's"
        yield compared(f"around-{slug(key)}", said, now[key], "µs", peer=before[key], peer_name=against)


def _parts(found: Numbers) -> Iterator[Row]:
    whole = {
        name: sum(found[f"{name}: {part}"] for part in BUDGET_US) for name in ("typical", "typical, titles differ")
    }
    note = (
        "The parts of a decision among 35 candidates, of the quickest tenth of decisions, each function timed in place: "
        f"{whole['typical']:.0f} µs in all with eight titles, {whole['typical, titles differ']:.0f} with titles that differ."
    )
    for name in whole:
        for part, budget_us in BUDGET_US.items():
            yield compared(
                f"step-part-{slug(f'{name} {part}')}",
                f"of a decision among 35, {'titles that differ' if 'differ' in name else 'eight titles'}: {part}",
                found[f"{name}: {part}"],
                "µs",
                peer=budget_us,
                peer_name="the budget",
                at_most=PASSED_AT_MOST,
                note=note,
            )


def _least(turns: list[Numbers]) -> Numbers:
    return {name: min(turn[name] for turn in turns) for name in turns[0]}

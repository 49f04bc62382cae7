"""Where the time of a decision goes, in place: microseconds by part of the budget, of the quickest decisions of a turn.

Functions are wrapped where they are looked up, and each is charged what it spends itself, less what the wrapping costs.
Taken out of `step` and timed alone they look up to half as dear. It runs on this build only: it knows its functions.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

from agents.step import step
from bench.measured import turns
from bench.measured.step_cost import entries, people
from tests.agents.build import PRIOR

PMF = "posterior, random words and draws"
PARTS: dict[str, Sequence[str]] = {
    "columns to features, mask, rank and duplicates": ("agents.slate._fill",),
    PMF: (),
    "slate and messages": (
        "agents.decide.decide",
        "agents.decide._tip",
        "tables.slates.pack",
    ),
    "ids": (
        "tables.ids.decision_bytes",
        "tables.ids.spelled",
        "tables.ids.draw_key",
        "tables.ids.item_key",
        "tables.ids.source_record_id",
    ),
}
"""What is charged to each part, by the name under which it stands; of a part some must exist. The second is the policy's `pmf`. What no part names is the rest."""
REST = "what remains of Python"
OTHERS = (
    "agents.why.lines",
    "agents.eligibility.valid_until_ms",
    "agents.eligibility.silent_until_ms",
    "agents.features.moment",
    "agents.candidates.calendar_at",
    "agents.slate.slate_at",
    "tables.sums.read",
)
"""Called by what a part names, and charged to the rest."""
DECISIONS = 1_000
KEPT = 0.1
"""The share of decisions whose parts count: the quickest."""


class Clock:
    """Charges time to whoever runs: wrapped functions by their part, everything else to the rest."""

    def __init__(self) -> None:
        self.spent_ns = dict.fromkeys([*PARTS, REST], 0)
        self._running = [REST]
        self._since_ns = 0
        self.inside_ns = 0.0
        """What a wrapped call costs in its own part, and"""
        self.outside_ns = 0.0
        """in that of its caller."""
        self.calls: list[tuple[str, str]] = []
        """(caller's part, own part) of each wrapped call."""

    def wrapped(self, act: Callable[..., Any], part: str) -> Callable[..., Any]:
        @wraps(act)
        def timed(*args: Any, **kwargs: Any) -> Any:
            running, spent = self._running, self.spent_ns
            self.calls.append((running[-1], part))
            now_ns = time.perf_counter_ns()
            spent[running[-1]] += now_ns - self._since_ns
            running.append(part)
            self._since_ns = now_ns
            try:
                return act(*args, **kwargs)
            finally:
                now_ns = time.perf_counter_ns()
                spent[running.pop()] += now_ns - self._since_ns
                self._since_ns = now_ns

        return timed

    def of(self, act: Callable[[], object]) -> dict[str, float]:
        """Microseconds by part of one call."""
        self.spent_ns = dict.fromkeys(self.spent_ns, 0)
        self.calls.clear()
        self._since_ns = time.perf_counter_ns()
        act()
        self.spent_ns[REST] += time.perf_counter_ns() - self._since_ns
        found: dict[str, float] = dict(self.spent_ns)
        for caller, own in self.calls:
            found[caller] -= self.outside_ns
            found[own] -= self.inside_ns
        return {part: ns / 1000 for part, ns in found.items()}

    def calibrate(self) -> None:
        """Learns what wrapping costs, from a function that does nothing."""
        ids = next(reversed(PARTS))
        empty = self.wrapped(_nothing, ids)

        def often() -> None:
            for _ in range(100):
                empty()

        def bare() -> None:
            for _ in range(100):
                _nothing()

        rounds = [self.of(often) for _ in range(200)]
        took = min(self.of(bare)[REST] for _ in range(200))
        self.inside_ns = min(one[ids] for one in rounds) * 10
        self.outside_ns = max(min(one[REST] for one in rounds) - took, 0.0) * 10


def _nothing() -> None:
    pass


def wrap(clock: Clock) -> None:
    """Put a wrapped function wherever the product holds the one it wraps. Raises SystemExit where a part has none any more."""
    for part, names in {**PARTS, REST: OTHERS}.items():
        found = [one for one in map(_named, names) if one is not None]
        if names and not found:
            raise SystemExit(f"{part}: none of {', '.join(names)} is there; say what is in {__file__}")
        for act in found:
            timed = clock.wrapped(act, part)
            for module in [one for name, one in sys.modules.items() if name.startswith(("agents.", "tables."))]:
                for name, value in list(vars(module).items()):
                    if value is act:
                        setattr(module, name, timed)


def _named(name: str) -> Callable[..., Any] | None:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError:
        return None


def main() -> None:
    records = {name: entries(life) for name, life in people() if name.startswith("typical")}
    clock = Clock()
    clock.calibrate()
    wrap(clock)
    policy = replace(PRIOR, policy=replace(PRIOR.policy, pmf=clock.wrapped(PRIOR.policy.pmf, PMF)))

    def turn() -> turns.Numbers:
        found = {}
        for name, (row, given) in records.items():
            one = given["a decision"]
            all_of = [clock.of(lambda row=row, one=one: step(row, one, policy)) for _ in range(DECISIONS)]
            quickest = sorted(all_of, key=lambda parts: sum(parts.values()))[: int(DECISIONS * KEPT)]
            for part in clock.spent_ns:
                found[f"{name}: {part}"] = sum(parts[part] for parts in quickest) / len(quickest)
            found[f"{name}: calls"] = len(clock.calls)
        return {**found, "inside_ns": clock.inside_ns, "outside_ns": clock.outside_ns}

    turns.answer(turn)


if __name__ == "__main__":
    main()

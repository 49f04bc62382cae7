"""A journal of simulated people in memory, as what a fold of it says."""

from __future__ import annotations

import sys
from functools import cache

from agents.step import Entry, Outputs
from deploy.simulator.pure import simulate
from deploy.simulator.scenario import load
from streams.units import HOUR_MS
from training.sets import Collector, TrainingSet


@cache
def followed(
    scenario: str = "base", *, users: int = 40, days: float = 6, seed: int = 1
) -> tuple[tuple[Entry, Outputs], ...]:
    """Each record, with what followed from it."""
    found = list[tuple[Entry, Outputs]]()
    simulate(load(scenario), users=users, days=days, seed=seed, policy="mixed", hear=lambda *one: found.append(one))
    return tuple(found)


@cache
def simulated_set(scenario: str = "base", *, users: int = 40, days: float = 6, seed: int = 1) -> TrainingSet:
    """All of that."""
    collector = Collector(0, start=0, end=sys.maxsize)
    for entry, outputs in followed(scenario, users=users, days=days, seed=seed):
        collector.take(entry.offset, entry.time_ms, outputs.decision, outputs.outcomes)
    return collector.done(wait_ms=4 * HOUR_MS, may_teach=lambda _: True)

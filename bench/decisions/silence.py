"""What to do with silence: teach nothing (drop), or teach some reward, where silence is at random and where it is not.

For docs/adr/0020: the product's default for `expired` is chosen by this. Learners of the bench alone, so that it says
something about silence and not about one policy; the product's own is in the whole core: `oo simulate --pure`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from bench.decisions.played import gains, play
from bench.decisions.processes import processes
from bench.decisions.slates import slates
from bench.decisions.tips import SEEDS, Paired
from bench.decisions.tips_peers import HybridLinUCB, Ridge
from bench.result import Bench, Result, Row, slug
from deploy.simulator.scenario import load

SCENARIOS = ("base", "silence_of_the_displeased", "silence_of_the_doers", "costly_interruptions")
LEARNERS = {
    "hybrid LinUCB": lambda cost: HybridLinUCB(0.1, cost, shared_ridge=4.0, user_ridge=4.0),
    "shared only": lambda cost: Ridge(0.1, cost, per_user=False),
}


TAUGHT = (0.0, 0.125, 0.25)
"""Rewards that silence may teach: nothing at all, what a snooze is worth, and about what a tip is worth in the mean."""


def measure(bench: Bench) -> Result:
    """All ways on the same people; the difference is that of dropping, against each reward."""
    seeds = SEEDS[:3] if bench.quick else SEEDS
    rows = []
    with processes(os.cpu_count() or 1) as pool:
        for name in SCENARIOS:
            found = list(pool.map(_all_ways, [name] * len(seeds), seeds))
            for learner in LEARNERS:
                for reward in TAUGHT:
                    rows.append(_row(name, learner, reward, [one[learner] for one in found]))
                    bench.say(f"{rows[-1].what} against {rows[-1].peer_name}")
    return Result(rows=rows)


Ways = dict[float | None, float]
"""Captured gain by what silence teaches; None for nothing."""


def _all_ways(name: str, seed: int) -> dict[str, Ways]:
    scenario = load(name)
    crowd = slates(scenario, seed=seed)

    def captured(learner: str, expired: float | None) -> float:
        made = LEARNERS[learner](scenario.interruption_cost)
        return gains(crowd, play(crowd, made, expired=expired).value)["all"]

    return {learner: {expired: captured(learner, expired) for expired in (None, *TAUGHT)} for learner in LEARNERS}


def _row(name: str, learner: str, reward: float, found: Sequence[Ways]) -> Row:
    dropped, taught = [one[None] for one in found], [one[reward] for one in found]
    a, b = float(np.mean(dropped)), float(np.mean(taught))
    what = f"{name}, {learner}: silence dropped, difference {Paired.of(dropped, taught)}"
    row_id = slug(f"silence {name} {learner} {reward:g}")
    return Row(row_id, what, round(a, 3), "", round(b, 3), f"reward {reward:g}", round(a / b, 3))

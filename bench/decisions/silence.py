"""What to do with silence: teach nothing (drop), or teach some reward, where silence is at random and where it is not.

For docs/adr/0020: the product's default for `expired` is chosen by this. It is of the product's own policy; in the whole core it is
`oo simulate --pure --learn-expired`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench.decisions import tips
from bench.decisions.played import gains, play
from bench.decisions.processes import processes
from bench.decisions.slates import slates
from bench.decisions.tips import MAIN, Paired, ours
from bench.result import Bench, Result, Row, slug
from deploy.simulator.scenario import load

SCENARIOS = (*tips.SCENARIOS, "silence_of_the_displeased", "silence_of_the_doers")
TAUGHT = (0.0, 0.125)
"""Rewards that silence may teach: none, and what a snooze is worth."""

Ways = Mapping[float | None, float]
"""Captured gain by what silence teaches; None where it teaches nothing."""


def measure(bench: Bench) -> Result:
    """All ways on the same people; the difference is that of teaching each reward, to teaching nothing. Quick: three seeds."""
    seeds = tips.SEEDS[:3] if bench.quick else tips.SEEDS
    pairs = [(name, seed) for name in SCENARIOS for seed in seeds]
    with processes() as pool:
        played = pool.map(_all_ways, *zip(*pairs, strict=True))
        found = dict(zip(pairs, bench.track(played, "playing the scenarios", len(pairs)), strict=True))
    ways = {name: [found[name, seed] for seed in seeds] for name in SCENARIOS}
    ways[f"mean over {len(SCENARIOS)} scenarios"] = [_mean(those) for those in zip(*ways.values(), strict=True)]
    return Result(rows=[_row(name, reward, those) for reward in TAUGHT for name, those in ways.items()])


def _all_ways(name: str, seed: int) -> Ways:
    crowd = slates(load(name), seed=seed)
    return {expired: gains(crowd, play(crowd, ours(MAIN), expired=expired).value)["all"] for expired in (None, *TAUGHT)}


def _mean(ways: Sequence[Ways]) -> Ways:
    return {taught: float(np.mean([one[taught] for one in ways])) for taught in ways[0]}


def _row(name: str, reward: float, ways: Sequence[Ways]) -> Row:
    taught, dropped = [one[reward] for one in ways], [one[None] for one in ways]
    a, b = float(np.mean(taught)), float(np.mean(dropped))
    what = f"{name}: captured gain where silence teaches {reward:g}, difference {Paired.of(taught, dropped)}"
    return Row(
        slug(f"silence {name} {reward:g}"), what, round(a, 3), "", round(b, 3), "teaches nothing", round(a / b, 3)
    )

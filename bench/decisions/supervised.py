"""Supervised sets as bandits: the reward is 1 for a right class and 0 for another, and nothing is said of the others.

Everyone gets the same whole numbers in the same order and the same chance to draw by: differences are paired by set and
shuffle. It never lets a learner see a label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass

import numpy as np

from agents.bandit.learner import Floats, Learner
from bench.decisions.datasets import ROUNDS_MAX, SETS, UNIT, Classes, load
from bench.decisions.learners import LEARNERS, TUNED, VW_FIXED, VW_GRID, VW_SQUARES
from bench.decisions.ours import DEFAULT, OURS, Setting
from bench.decisions.processes import processes
from bench.decisions.supervised_table import POINTS, Curves, Scope, mean_of, result
from bench.result import Bench, Result

START_MS = 1_790_000_000_000
ROUND_MS = 1_000

FULL = Scope(tuple(SETS), ROUNDS_MAX, shuffles=10, shuffles_few=4, tuning_rounds_max=400)
QUICK = Scope(
    ("iris", "wine", "breast_cancer", "phishing", "segments", "circles", "led"),
    rounds_max=250,
    shuffles=2,
    shuffles_few=1,
    tuning_rounds_max=60,
)


@dataclass(frozen=True, slots=True)
class Job:
    """One learner on one shuffle of one set."""

    learner: str
    set_name: str
    seed: int
    rounds_max: int


def play(learner: Learner, classes: Classes, *, seed: int, rounds_max: int = ROUNDS_MAX) -> Floats:
    """The reward of each round: (rounds,). The seed decides the order of the set and the chance of every draw."""
    chance = np.random.default_rng(seed)
    order = chance.permutation(len(classes.contexts))[:rounds_max]
    drawn = chance.random(len(order))
    k = classes.right.shape[1]
    rewards = np.zeros(len(order))
    for at, index in enumerate(order):
        row = np.concatenate(([UNIT], classes.contexts[index]))
        x = np.repeat(row[None], k, axis=0)
        time_ms = START_MS + at * ROUND_MS
        p = learner.pmf("one", x, silent=None, time_ms=time_ms, key=(seed + 1) << 64 | at)
        action = min(int(np.searchsorted(p.cumsum(), drawn[at], side="right")), k - 1)
        rewards[at] = classes.right[index, action]
        learner.learn("one", x, action=action, reward=rewards[at], propensity=float(p[action]), time_ms=time_ms)
    return rewards


def _run(job: Job) -> tuple[Job, Floats]:
    classes = load(job.set_name)
    setting = Setting(actions=classes.right.shape[1], d=classes.contexts.shape[1] + 1, seed=job.seed)
    learner = LEARNERS[job.learner](setting)
    rewards = play(learner, classes, seed=job.seed, rounds_max=job.rounds_max)
    means = rewards.cumsum() / np.arange(1, len(rewards) + 1)
    return job, means[np.ceil(np.arange(1, POINTS + 1) * len(rewards) / POINTS).astype(np.int64) - 1]


def run(pool: Executor, jobs: Sequence[Job], bench: Bench, what: str) -> Curves:
    """Plays all."""
    curves: dict[tuple[str, str], dict[int, Floats]] = defaultdict(dict)
    futures = [pool.submit(_run, job) for job in jobs]
    for future in bench.track(as_completed(futures), what, len(futures)):
        job, curve = future.result()
        curves[job.learner, job.set_name][job.seed] = curve
    return curves


def measure(bench: Bench) -> Result:
    """Every learner on every set: first those to tune on their own shuffle, then all on the shuffles of the result."""
    scope = QUICK if bench.quick else FULL

    def jobs(learners: Iterable[str], seeds: Iterable[int], rounds_max: int) -> list[Job]:
        return [Job(who, one, seed, rounds_max) for seed in seeds for one in scope.sets for who in learners]

    variants = [name for names in TUNED.values() for name in names]
    # As many at once as there are cores.
    with processes() as pool:
        tuning = run(pool, jobs(variants, [scope.tuning_seed], scope.tuning_rounds_max), bench, "tuning")
        tuned = {
            library: max(names, key=lambda name: mean_of(tuning, name, scope.sets, [scope.tuning_seed]))
            for library, names in TUNED.items()
        }
        bench.say(f"tuned: {', '.join(tuned.values())}")
        few = [name for name in (*OURS, *tuned.values(), *VW_SQUARES, *VW_GRID) if name != DEFAULT]
        curves = run(
            pool,
            [
                *jobs(few, range(scope.shuffles_few), scope.rounds_max),
                *jobs([DEFAULT, *VW_FIXED], range(scope.shuffles), scope.rounds_max),
            ],
            bench,
            "sets",
        )
    return result(curves, scope, tuned)

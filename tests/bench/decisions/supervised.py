"""Supervised sets as bandits: the reward is 1 for a right class and 0 for another, and nothing is said of the others.

Everyone gets the same whole numbers in the same order and the same chance to draw by: differences are paired by set and
shuffle. It never lets a learner see a label.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass

import numpy as np

from agents.policies.learner import Floats, Learner
from tests.bench.decisions.datasets import GENERATED_ROUNDS, ROUNDS_MAX, SETS, UNIT, Classes, load
from tests.bench.decisions.learners import LEARNERS, TUNED, VW_FIXED, VW_GRID, VW_SQUARES
from tests.bench.decisions.ours import DEFAULT, OURS, Setting
from tests.bench.decisions.processes import processes
from tests.bench.result import Bench, Plot, Result, Row, slug

START_MS = 1_790_000_000_000
ROUND_MS = 1_000
POINTS = 20
"""Of a learning curve."""


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is played."""

    sets: tuple[str, ...]
    rounds_max: int
    shuffles: int
    shuffles_few: int
    """For all but the default and the fixed VW: the first so many of the same shuffles."""
    tuning_rounds_max: int
    tuning_seed: int = 1_000
    """A shuffle that no result comes from."""


FULL = Scope(tuple(SETS), ROUNDS_MAX, shuffles=10, shuffles_few=3, tuning_rounds_max=400)
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


Curves = Mapping[tuple[str, str], Mapping[int, Floats]]
"""(learner, set) -> seed -> the mean reward up to each of POINTS shares of the rounds; the last is that of all."""


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
    with processes(os.cpu_count() or 1) as pool:
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


def mean_of(curves: Curves, learner: str, sets: Iterable[str], seeds: Iterable[int]) -> float:
    """Of the mean rewards of these sets, each over these shuffles."""
    return float(_means(curves, learner, sets, seeds).mean())


def _means(curves: Curves, learner: str, sets: Iterable[str], seeds: Iterable[int]) -> Floats:
    """(sets, shuffles)."""
    return np.array([[curves[learner, one][seed][-1] for seed in seeds] for one in sets])


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two learners, paired by set and shuffle."""

    mean: float
    se_shuffles: float
    """Standard error for these very sets: over shuffles."""
    se_sets: float
    """For sets like these: over sets."""

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.se_shuffles:.3f} over shuffles, ± {self.se_sets:.3f} over sets"


def difference(ours: Floats, theirs: Floats) -> Difference:
    """Both (sets, shuffles).

    >>> str(difference(np.array([[1.0, 1.0], [0.0, 0.5]]), np.array([[0.0, 0.0], [0.0, 0.0]])))
    '+0.625 ± 0.125 over shuffles, ± 0.375 over sets'
    """
    each = ours - theirs

    def error(means: Floats) -> float:
        return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan")

    return Difference(float(each.mean()), error(each.mean(axis=0)), error(each.mean(axis=1)))


def result(curves: Curves, scope: Scope, tuned: Mapping[str, str]) -> Result:
    """The table and its plots."""
    all_seeds, few = range(scope.shuffles), range(scope.shuffles_few)
    sets = scope.sets
    best_fixed = max(VW_FIXED, key=lambda name: mean_of(curves, name, sets, all_seeds))
    hindsight = {one: max(VW_GRID, key=lambda name: mean_of(curves, name, [one], few)) for one in sets}
    ours_few = _means(curves, DEFAULT, sets, few).mean(axis=1)
    theirs_few = np.array([mean_of(curves, hindsight[one], [one], few) for one in sets])
    at_least = ours_few >= theirs_few - 1e-12
    best = _row(curves, DEFAULT, best_fixed, sets, all_seeds, "supervised-default", more_by=0.10, note=_note(scope))
    share = Row(
        "supervised-hindsight-share",
        f"share of {len(sets)} sets where {DEFAULT} earns at least as much as the best of {len(VW_GRID)} "
        f"configurations of VW chosen for the set in hindsight, {len(few)} shuffles",
        round(float(at_least.mean()), 3),
        "of sets",
        1.0,
        "all",
        round(float(at_least.mean()), 3),
        ">= 0.85",
        bool(at_least.mean() >= 0.85),
    )
    peers = [
        *((name, all_seeds) for name in VW_FIXED if name != best_fixed),
        *((name, few) for name in (*VW_SQUARES, *tuned.values())),
    ]
    rows = [
        best,
        share,
        *(_row(curves, DEFAULT, name, sets, seeds, f"supervised-peer-{slug(name)}") for name, seeds in peers),
        *(
            _row(curves, name, best_fixed, sets, few, f"supervised-ours-{slug(name)}")
            for name in OURS
            if name != DEFAULT
        ),
        *(_row(curves, DEFAULT, hindsight[one], [one], few, f"supervised-set-{one}", set_name=one) for one in sets),
    ]
    order = np.argsort(theirs_few)
    place = [float(at) for at in range(1, len(sets) + 1)]
    by_set = Plot(
        "supervised-sets",
        "Mean reward by set, in the order of VW's best in hindsight",
        "set",
        "mean reward",
        {
            DEFAULT: (place, ours_few[order].tolist()),
            "VW, best in hindsight": (place, theirs_few[order].tolist()),
            best_fixed: (place, _means(curves, best_fixed, sets, few).mean(axis=1)[order].tolist()),
        },
    )
    shares = [float(100 * at / POINTS) for at in range(1, POINTS + 1)]
    learning = Plot(
        "supervised-learning",
        f"Mean reward so far, over {len(sets)} sets",
        "% of the rounds of a set",
        "mean reward",
        {
            name: (shares, np.mean([curves[name, one][seed] for one in sets for seed in few], axis=0).tolist())
            for name in dict.fromkeys([DEFAULT, best_fixed, *tuned.values(), *OURS])
        },
    )
    return Result(rows, [by_set, learning])


def _row(
    curves: Curves,
    learner: str,
    peer: str,
    sets: Sequence[str],
    seeds: Sequence[int],
    name: str,
    *,
    set_name: str | None = None,
    more_by: float | None = None,
    note: str = "",
) -> Row:
    ours, theirs = _means(curves, learner, sets, seeds), _means(curves, peer, sets, seeds)
    found = difference(ours, theirs)
    if set_name is None:
        what = f"{learner}: mean reward on {len(sets)} sets, {len(seeds)} shuffles; difference {found}"
    else:
        what = f"{set_name}: {learner}, {len(seeds)} shuffles; difference {found.mean:+.3f} ± {found.se_shuffles:.3f}"
    return Row(
        name,
        what,
        round(float(ours.mean()), 3),
        "reward",
        round(float(theirs.mean()), 3),
        peer,
        round(float(ours.mean() / theirs.mean()), 3),
        "" if more_by is None else f">= peer + {more_by:g}",
        None if more_by is None else found.mean >= more_by,
        note,
    )


def _note(scope: Scope) -> str:
    generated = [one for one in scope.sets if SETS[one].generated]
    shipped = [one for one in scope.sets if not SETS[one].generated]
    return (
        f"Shipped with scikit-learn and river: {', '.join(shipped)}; generated under fixed seeds: {', '.join(generated)} "
        f"({GENERATED_ROUNDS:,} rounds each). Up to {scope.rounds_max:,} rounds a set. Features: less the set's mean, over three of its "
        "spreads, clipped at 1, in whole 1/64, the same for all. VW: cb_explore_adf, mtr, cost 0 or 1, context x action, "
        "its probabilities drawn from; the best fixed one is chosen on the shuffles of the result, which favours it, and so "
        f"is the best in hindsight, among {len(VW_GRID)} (explorers and learning rates). mabwiser, river and the textbook's LinUCB are tuned by their mean over all sets on a "
        f"shuffle of their own (up to {scope.tuning_rounds_max} rounds). Standard errors are of paired differences: over "
        "shuffles for these very sets, over sets for sets like these."
    )

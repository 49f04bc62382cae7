"""What the table of supervised sets says, made from learning curves: differences paired by set and shuffle, and who is best.

It plays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.bandit.learner import Floats
from bench.decisions.datasets import GENERATED_ROUNDS, SETS
from bench.decisions.learners import VW_FIXED, VW_GRID, VW_SQUARES
from bench.decisions.ours import DEFAULT, OURS
from bench.result import Plot, Result, Row, slug

POINTS = 20
"""Of a learning curve."""

Curves = Mapping[tuple[str, str], Mapping[int, Floats]]
"""(learner, set) -> seed -> the mean reward up to each of POINTS shares of the rounds; the last is that of all."""


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
    by_set = {
        one: difference(_means(curves, DEFAULT, [one], few), _means(curves, hindsight[one], [one], few)) for one in sets
    }
    clearly_below = sum(found.mean < -2 * found.se_shuffles for found in by_set.values())
    best = _row(curves, DEFAULT, best_fixed, sets, all_seeds, "supervised-default", more_by=0.10, note=_note(scope))
    share = Row(
        "supervised-hindsight-share",
        f"share of {len(sets)} sets where {DEFAULT} earns at least as much as the best of {len(VW_GRID)} "
        f"configurations of VW chosen for the set in hindsight, {len(few)} shuffles; "
        f"below by more than two standard errors on {clearly_below}",
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
    across = Plot(
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
    return Result(rows, [across, learning])


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
        f"is the best in hindsight, among {len(VW_GRID)} (explorers and learning rates); its options were settled on a shuffle "
        "that no result comes from. mabwiser, river and the textbook's LinUCB are tuned by their mean over all sets on a "
        f"shuffle of their own (up to {scope.tuning_rounds_max} rounds); oO's own were settled on shuffles 100 to 103. Standard errors are of paired differences: over "
        "shuffles for these very sets, over sets for sets like these."
    )

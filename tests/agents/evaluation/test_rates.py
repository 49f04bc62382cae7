"""The share done of a version: right in the mean whatever the policy likes, and bounds that hold at every moment."""

from __future__ import annotations

import numpy as np
import pytest

from agents.evaluation import rates

SEEN = np.array([0.9, 0.3, 0.15])
"""How likely three kinds of tips of a version are to be drawn, the likelier the better they are."""
DONE = np.array([0.8, 0.5, 0.2])


def watched(seed: int, *, n: int, done=DONE, seen=SEEN):
    """Slates on which one tip of the version stands, each as often; what is not drawn is not seen."""
    rng = np.random.default_rng(seed)
    some = rates.empty()
    for kind in rng.integers(len(seen), size=n):
        if rng.random() < seen[kind]:
            some = rates.add(some, done=bool(rng.random() < done[kind]), chance=float(seen[kind]))
        yield some


def test_what_the_policy_likes_best_does_not_flatter_the_version() -> None:
    *_, some = watched(1, n=20_000)
    assert some.done / some.n > 0.63
    assert some.share == pytest.approx(DONE.mean(), abs=0.02)


def test_bounds_hold_at_every_moment_of_nearly_all_streams() -> None:
    missed = 0
    for seed in range(120):
        missed += any(
            not low <= DONE.mean() <= high
            for n, some in enumerate(watched(seed, n=300))
            if n % 10 == 9
            for low, high in [rates.interval(some, alpha=0.05)]
        )
    assert missed <= 6


def test_bounds_close_in() -> None:
    found = list(watched(3, n=4000))
    widths = [high - low for low, high in (rates.interval(found[n - 1], alpha=0.05) for n in (50, 500, 4000))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.2


def test_a_better_version_is_told_apart_from_a_worse_one() -> None:
    *_, better = watched(4, n=4000)
    *_, worse = watched(5, n=4000, done=DONE - 0.2)
    assert rates.interval(better, alpha=0.05)[0] > rates.interval(worse, alpha=0.05)[1]


def test_one_rare_tip_is_not_all_that_is_known() -> None:
    some = rates.empty()
    for _ in range(50):
        some = rates.add(some, done=False, chance=0.8)
    some = rates.add(some, done=True, chance=0.0001)
    assert some.share < 0.3


def test_decisions_without_a_tip_of_the_version_change_no_bet() -> None:
    some = rates.add(rates.empty(), done=True, chance=0.5)
    passed = rates.wealth.add(some.below, np.ones_like(rates.GRID))
    assert rates.wealth.log_wealth(passed, 1.0) == pytest.approx(rates.wealth.log_wealth(some.below, 1.0))

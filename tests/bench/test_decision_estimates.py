from __future__ import annotations

import numpy as np

from agents.evaluation.estimates import dr, ips, snips
from bench.decisions.estimates import estimated, past_rates

RATES = np.array([0.2, 0.5, 0.7])
LOGGED = np.array([0.6, 0.3, 0.1])
TARGET = np.array([0.1, 0.2, 0.7])


def covered(seed: int, n: int = 2_000) -> tuple[bool, bool, bool]:
    chance = np.random.default_rng(seed)
    action = chance.choice(3, n, p=LOGGED)
    reward = (chance.random(n) < RATES[action]).astype(np.float64)
    truth = float(TARGET @ RATES)
    sums, _ = estimated(np.tile(TARGET, (n, 1)), action=action, propensity=LOGGED[action], reward=reward)
    return tuple(bool(one.low <= truth <= one.high) for one in (ips(sums), snips(sums), dr(sums)))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    shares = np.mean([covered(seed) for seed in range(200)], axis=0)
    # The binomial's own spread over 200 is .015.
    assert (shares > 0.89).all()
    assert (shares < 1.0).all()


def test_a_rows_model_knows_nothing_of_its_own_block_or_later() -> None:
    chance = np.random.default_rng(0)
    action, reward = chance.integers(0, 3, 400), chance.integers(0, 2, 400).astype(np.float64)
    before = past_rates(action, reward, actions=3)
    reward[200:] = 1 - reward[200:]
    assert np.array_equal(before[:220], past_rates(action, reward, actions=3)[:220])
    assert not np.array_equal(before[220:], past_rates(action, reward, actions=3)[220:])

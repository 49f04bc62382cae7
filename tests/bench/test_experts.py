"""Experts: what a slate known by place is decided with in benchmarks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.bandit.learner import Floats, Ints
from bench.decisions.experts import REFRESH_EVERY, Experts, Ridges

XOR = np.array([[64, -64, -64], [64, -64, 64], [64, 64, -64], [64, 64, 64]])
"""A constant and two signs; the second action is right where they differ."""


def slate(context: Ints, k: int) -> Ints:
    return np.repeat(context[None], k, axis=0)


def asked(learner: Experts, x: Ints) -> Floats:
    return learner.pmf("one", x, silent=None, time_ms=0, key=0)


def told(learner: Experts, x: Ints, action: int, reward: float) -> None:
    learner.learn("one", x, action=action, reward=reward, propensity=1.0, time_ms=0)


def earned_at_xor(learner: Experts, rounds: int = 400) -> float:
    """The mean reward over the second half."""
    chance, rewards = np.random.default_rng(0), []
    for _ in range(rounds):
        at = int(chance.integers(4))
        x = slate(XOR[at], 2)
        action = int(chance.random() >= asked(learner, x)[0])
        rewards.append(float(action == (at in {1, 2})))
        told(learner, x, action, rewards[-1])
    return float(np.mean(rewards[rounds // 2 :]))


def test_it_learns_xor_which_its_linear_expert_alone_cannot() -> None:
    assert earned_at_xor(Experts()) > 0.95
    # Of the four contexts a line gets three right at the most.
    assert earned_at_xor(Experts(lengths=(), additive_lengths=())) < 0.8


@given(
    k=st.integers(1, 8),
    d=st.integers(1, 6),
    floor=st.sampled_from([0.0, 0.02, 0.5]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_probabilities_add_up_to_one_with_the_floor_under_each(k: int, d: int, floor: float, seed: int) -> None:
    chance, learner = np.random.default_rng(seed), Experts(floor=floor, waves=8)
    for _ in range(20):
        x = slate(chance.integers(-64, 65, d), k)
        p = asked(learner, x)
        assert p.shape == (k,)
        assert p.sum() == pytest.approx(1.0, abs=1e-12)
        assert p.min() >= floor / k
        told(learner, x, int(chance.integers(k)), float(chance.integers(2)))


def test_before_the_first_reward_all_are_alike() -> None:
    assert asked(Experts(), slate(XOR[1], 4)).tolist() == pytest.approx([0.25] * 4, abs=1e-15)


def test_it_draws_the_best_but_for_the_floor() -> None:
    learner, x = Experts(width=0.0), slate(XOR[0], 4)
    for action in range(4):
        told(learner, x, action, float(action == 2))
    assert asked(learner, x).tolist() == pytest.approx([0.005, 0.005, 0.985, 0.005])


def test_rewards_that_come_late_and_in_another_order_make_the_same_sums() -> None:
    chance = np.random.default_rng(1)
    given_ = [
        (slate(chance.integers(-64, 65, 4), 3), int(chance.integers(3)), float(chance.integers(2))) for _ in range(60)
    ]
    at_once, late = Experts(), Experts()
    for x, action, reward in given_:
        asked(at_once, x)
        told(at_once, x, action, reward)
    for x, *_ in given_:
        asked(late, x)
    for at in chance.permutation(len(given_)):
        told(late, *given_[at])
    for one, other in zip(at_once.sums, late.sums, strict=True):
        for action in range(3):
            assert np.allclose(one.gram(action), other.gram(action), rtol=0, atol=1e-12)
        assert np.allclose(one.moment, other.moment, rtol=0, atol=1e-12)
        assert np.allclose(one.beta, other.beta, rtol=0, atol=1e-9)


@given(d=st.integers(1, 8), ridge=st.sampled_from([0.05, 0.2, 1.0]), seed=st.integers(0, 2**32), n=st.integers(1, 200))
@settings(max_examples=40, deadline=None)
def test_an_inverse_from_the_sums_equals_the_one_kept_beside_them(d: int, ridge: float, seed: int, n: int) -> None:
    chance, one = np.random.default_rng(seed), Ridges(2, d, ridge=ridge)
    for _ in range(n):
        one.add(int(chance.integers(2)), chance.uniform(-1, 1, d), float(chance.integers(2)))
    kept, beta = one.inverse.copy(), one.beta.copy()
    for action in range(2):
        one.refresh(action)
    assert np.allclose(one.inverse, kept, rtol=1e-8, atol=1e-9)
    assert np.allclose(one.beta, beta, rtol=1e-7, atol=1e-8)


def test_what_rounding_left_is_gone_at_the_refresh() -> None:
    one = Ridges(1, 2, ridge=1.0)
    one.inverse[0] += 0.1
    for _ in range(REFRESH_EVERY - 1):
        one.add(0, np.array([1.0, 0.5]), 1.0)
    of_sums = np.linalg.inv(one.gram(0) + np.eye(2))
    assert not np.allclose(one.inverse[0], of_sums)
    one.add(0, np.array([1.0, 0.5]), 1.0)
    assert np.allclose(one.inverse[0], np.linalg.inv(one.gram(0) + np.eye(2)), rtol=0, atol=1e-12)


def test_a_band_of_one_feature_in_ten_is_found_sooner_with_an_additive_expert() -> None:
    def earned(learner: Experts) -> float:
        chance, rewards = np.random.default_rng(2), []
        for _ in range(600):
            context = np.concatenate(([64], chance.integers(-64, 65, 10)))
            x, inside = slate(context, 2), abs(int(context[1])) < 32
            action = int(chance.random() >= asked(learner, x)[0])
            rewards.append(float(action == inside))
            told(learner, x, action, rewards[-1])
        return float(np.mean(rewards))

    assert earned(Experts()) > earned(Experts(additive_lengths=())) + 0.1


def test_an_action_without_rewards_trusts_the_expert_that_the_others_trust() -> None:
    learner, chance = Experts(), np.random.default_rng(0)
    for _ in range(100):
        at = int(chance.integers(4))
        told(learner, slate(XOR[at], 2), 0, float(at in {1, 2}))
    _, never = learner.weights().T
    # A line cannot, a sum of curves along each feature cannot either.
    assert never[1:3].sum() > 0.99
    assert never.sum() == pytest.approx(1.0, abs=1e-12)
    learner.shared = 0.0
    assert learner.weights()[:, 1].tolist() == pytest.approx([0.25] * 4)


def test_an_action_that_earns_from_a_curve_is_left_to_the_smooth_experts() -> None:
    learner = Experts()
    earned_at_xor(learner)
    linear, *smooth = learner.losses
    assert (np.array(smooth).min(axis=0) < linear / 2).all()

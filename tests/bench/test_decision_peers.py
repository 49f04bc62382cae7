from __future__ import annotations

import numpy as np
import pytest
from vowpalwabbit import Workspace

from agents.bandit.learner import Floats, Ints
from bench.decisions.datasets import load
from bench.decisions.learners import EXPLORERS, LEARNERS, MORE_EXPLORERS, TUNED
from bench.decisions.ours import Blocks, Setting, Uniform
from bench.decisions.supervised import play
from bench.decisions.vw import Vw, compact

CHANCE = np.random.default_rng(0)
CROSSED = "-q sa --ignore_linear s"


def slate(k: int, d: int) -> Ints:
    return np.repeat(CHANCE.integers(-64, 65, (1, d)), k, axis=0)


@pytest.mark.parametrize("options", [*EXPLORERS.values(), *MORE_EXPLORERS.values()])
def test_probabilities_of_vw_add_up_to_one_while_it_learns(options: str) -> None:
    learner = Vw(f"{options} {CROSSED}", seed=1)
    for at in range(50):
        x = slate(4, 6)
        p = learner.pmf("one", x, silent=None, time_ms=at, key=at)
        assert p.shape == (4,)
        assert p.min() >= 0
        assert p.sum() == pytest.approx(1, abs=1e-12)
        learner.learn("one", x, action=at % 4, reward=float(at % 4 == 2), propensity=float(p[at % 4]), time_ms=at)


@pytest.mark.parametrize("options", EXPLORERS.values())
def test_vw_learns_the_same_from_what_it_kept_as_from_text_parsed_again(options: str) -> None:
    learner = Vw(f"{options} {CROSSED}", seed=1)
    plain = Workspace(f"--cb_explore_adf --cb_type mtr --quiet {options} {CROSSED} --random_seed 1")
    for at in range(200):
        x = slate(3, 5)
        action, reward = at % 3, float((at % 3 == 1) == (x[0, 0] > 0))
        p = learner.pmf("one", x, silent=None, time_ms=at, key=at)
        lines = compact(x)
        other = np.array(plain.predict(lines))
        assert np.array_equal(p, other / other.sum())
        learner.learn("one", x, action=action, reward=reward, propensity=0.5, time_ms=at)
        lines[1 + action] = f"0:{1 - reward:g}:0.5 {lines[1 + action]}"
        plain.learn(lines)
    plain.finish()


class Knows:
    """The right class of iris by the width of a petal."""

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        width = x[0, 4]
        return np.eye(3)[0 if width < -13 else 1 if width < 17 else 2]

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        assert propensity == 1


def test_one_who_knows_earns_what_it_knows_and_uniform_earns_one_over_k() -> None:
    iris = load("iris")
    knows = play(Knows(), iris, seed=0).mean()
    uniform = np.mean([play(Uniform(), iris, seed=seed).mean() for seed in range(30)])
    assert knows > 0.9
    assert uniform == pytest.approx(1 / 3, abs=0.04)


@pytest.mark.parametrize("name", ["VW greedy", *[next(iter(names)) for names in TUNED.values()]])
def test_every_peer_learns_an_easy_set(name: str) -> None:
    wine = load("wine")
    rewards = play(LEARNERS[name](Setting(actions=3, d=14, seed=0)), wine, seed=0)
    assert rewards[-80:].mean() > 0.8


def test_a_round_has_the_same_order_and_chance_for_everyone() -> None:
    assert np.array_equal(play(Uniform(), load("wine"), seed=3), play(Uniform(), load("wine"), seed=3))
    assert not np.array_equal(play(Uniform(), load("wine"), seed=3), play(Uniform(), load("wine"), seed=4))


def test_blocks_hand_on_what_they_are_told() -> None:
    told: list[Ints] = []

    class Listens(Uniform):
        def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
            told.append(x)

    x = slate(3, 2)
    learner = Blocks(Listens())
    assert learner.pmf("one", x, silent=None, time_ms=0, key=0).tolist() == [1 / 3] * 3
    learner.learn("one", x, action=1, reward=1.0, propensity=1 / 3, time_ms=0)
    assert told[0].shape == (3, 6)
    assert told[0][1].tolist() == [0, 0, *x[1], 0, 0]

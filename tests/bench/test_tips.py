"""The peers of the simulated tips do what their papers say, and the table knows a lead from luck."""

from __future__ import annotations

import numpy as np
import pytest

from bench.decisions import tips
from bench.decisions.played import captured, play
from bench.decisions.slates import PER_USER, D, slates
from bench.decisions.tips_growthbook import Growthbook, greatest
from bench.decisions.tips_peers import FIXED, GRIDS, HybridLinUCB, Ridge, VowpalWabbit
from deploy.simulator.scenario import parse
from streams.units import DAY_MS, HOUR_MS

USERS = ("ada", "bob", "eve")


def taught(learner, *, n: int = 120):
    """Rows, users and rewards that the learner was taught."""
    chance = np.random.default_rng(3)
    x = chance.integers(-64, 65, (n, 1, D))
    users, rewards = chance.integers(len(USERS), size=n), chance.normal(size=n)
    for index in range(n):
        user = USERS[users[index]]
        learner.learn(user, x[index], action=0, reward=rewards[index], propensity=1.0, time_ms=index)
    return x[:, 0] / 64, users, rewards


def on_both_levels(z, users):
    """The rows of one regression with a coefficient for everybody and one for each person."""
    own = np.zeros((len(z), PER_USER * len(USERS)))
    for index, user in enumerate(users):
        own[index, user * PER_USER : (user + 1) * PER_USER] = z[index, :PER_USER]
    return np.concatenate([z, own], axis=1)


def test_hybrid_linucb_expects_what_one_ridge_regression_on_both_levels_does():
    learner = HybridLinUCB(1.0, 0.0, shared_ridge=2.0, user_ridge=3.0)
    z, users, rewards = taught(learner)
    rows = on_both_levels(z, users)
    inverse = np.linalg.inv(rows.T @ rows + np.diag([2.0] * D + [3.0] * (rows.shape[1] - D)))
    new = np.random.default_rng(5).integers(-64, 65, (6, D))
    for number, user in enumerate(USERS):
        row = on_both_levels(new / 64, [number] * 6)
        mean, variance = learner.expect(user, new)
        np.testing.assert_allclose(mean, row @ inverse @ rows.T @ rewards, atol=1e-9)
        np.testing.assert_allclose(variance, np.einsum("ki,ij,kj->k", row, inverse, row), atol=1e-9)


@pytest.mark.parametrize("per_user", [True, False])
def test_the_ridge_that_is_kept_up_is_the_one_solved_at_once(per_user):
    learner = Ridge(0.0, 0.0, per_user=per_user, ridge=2.0)
    z, users, rewards = taught(learner)
    mine = users == 0 if per_user else np.full(len(users), True)
    expected = np.linalg.solve(z[mine].T @ z[mine] + 2.0 * np.eye(D), z[mine].T @ rewards[mine])
    inverse, moment = learner._of("ada", D)
    np.testing.assert_allclose(inverse @ moment, expected, atol=1e-9)


def test_vowpal_wabbit_learns_which_candidate_pays_and_that_people_differ():
    learner = VowpalWabbit("--cb_type mtr -q ua --epsilon 0 -l 0.5", 0.0)
    x = np.zeros((3, D), dtype=np.int64)
    x[np.arange(3), np.arange(3)] = 64
    for time_ms in range(300):
        user, action = ("ada", "bob")[time_ms % 2], time_ms % 3
        learner.pmf(user, x, silent=None, time_ms=time_ms, key=0)
        reward = float(action == (1 if user == "ada" else 2))
        learner.learn(user, x, action=action, reward=reward, propensity=1 / 3, time_ms=time_ms)
    assert learner.pmf("ada", x, silent=None, time_ms=1000, key=0).argmax() == 1
    assert learner.pmf("bob", x, silent=None, time_ms=1000, key=0).argmax() == 2


def test_growthbook_parts_the_context_where_different_variations_win_and_learns_at_its_updates_alone():
    learner = Growthbook(0.0, 2, 20, HOUR_MS)
    chance = np.random.default_rng(7)
    x = np.zeros((2, D), dtype=np.int64)
    x[0, 1] = x[1, 2] = 64  # a topic each
    early, late = x.copy(), x.copy()
    early[:, 20], late[:, 20] = -32, 32

    def asked(slate, *, time_ms):
        return learner.pmf("ada", slate, silent=None, time_ms=time_ms, key=0)

    for nth in range(300):
        slate, action = (early, late)[nth % 2], nth // 2 % 2
        # In the mean over the day the first pays more, and no part of the day does.
        reward = (action == (slate is late)) - 0.3 * action + chance.normal(0.0, 0.1)
        learner.learn("ada", slate, action=action, reward=reward, propensity=0.5, time_ms=0)
    assert asked(early, time_ms=HOUR_MS - 1).tolist() == [0.5, 0.5]
    assert asked(early, time_ms=DAY_MS)[0] > 0.95
    assert asked(late, time_ms=DAY_MS)[1] > 0.95
    for _ in range(600):
        learner.learn("ada", early, action=0, reward=-1.0, propensity=0.5, time_ms=DAY_MS)
    assert asked(early, time_ms=DAY_MS + HOUR_MS - 1)[0] > 0.95
    assert asked(early, time_ms=DAY_MS + HOUR_MS)[1] > 0.95


def test_a_weight_of_growthbook_is_how_often_a_draw_of_that_variation_is_the_greatest():
    mean, spread = np.array([0.1, 0.0, 0.3, -0.2]), np.array([0.3, 0.1, 0.2, 0.5])
    drawn = np.random.default_rng(1).normal(mean, spread, (200_000, 4)).argmax(axis=1)
    np.testing.assert_allclose(greatest(mean, spread), np.bincount(drawn) / len(drawn), atol=0.005)


SMALL = parse("people = 12\ndecisions_per_person = 20", name="small")
QUIET = parse("people = 12\ndecisions_per_person = 20\nsilent_candidate = true", name="quiet")
EVERYBODY = {
    **{f"{peer} {setting}": make for peer, grid in GRIDS.items() for setting, make in list(grid.items())[:1]},
    **FIXED,
    **{name: lambda cost, make=make: make() for name, make in tips.OURS.items()},
}


@pytest.mark.parametrize("name", EVERYBODY)
@pytest.mark.parametrize("scenario", [SMALL, QUIET], ids=["plain", "with silence"])
def test_every_learner_gives_probabilities_and_the_same_ones_again(name, scenario):
    crowd = slates(scenario, seed=4)
    first = play(crowd, EVERYBODY[name](scenario.interruption_cost))
    assert np.array_equal(first.value, play(crowd, EVERYBODY[name](scenario.interruption_cost)).value)
    assert -1.0 < captured(crowd, first.value) < 1.0
    assert (first.value <= crowd.oracle + 1e-9).all()


def test_a_linear_peer_says_nothing_where_it_expects_less_than_an_interruption_costs():
    nothing_pays = parse("silent_candidate = true\ninterruption_cost = 1.0\nworth_done = 0.0", name="vain")
    crowd = slates(nothing_pays, seed=4)
    for peer in ("hybrid LinUCB", "shared only", "per user only"):
        make = next(iter(GRIDS[peer].values()))
        pmf = make(1.0).pmf("user-0", crowd.x[0], silent=crowd.silent, time_ms=0, key=0)
        assert pmf[crowd.silent] == pytest.approx(1.0)


def test_a_lead_is_told_from_luck():
    chance = np.random.default_rng(1)
    peer = chance.normal(0.5, 0.1, 10)
    ahead = tips.Paired.of((peer + 0.05 + chance.normal(0, 0.01, 10)).tolist(), peer.tolist())
    assert ahead.low > 0.03
    level = tips.Paired.of((peer + chance.normal(0, 0.05, 10)).tolist(), peer.tolist())
    assert level.low < 0 < level.high

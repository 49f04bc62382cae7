"""The reward model knows the past, all of it, and nothing else."""

from __future__ import annotations

import numpy as np

from agents.evaluation import model


def taught(n: int, *, seed: int = 1, d: int = 3) -> tuple[model.RewardModel, np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed).standard_normal((n, d + 1))
    x, r = drawn[:, :d], drawn[:, d]
    learned = model.empty(d)
    for one, reward in zip(x, r, strict=True):
        learned = model.learn(learned, one, np.array(reward))
    return learned, x, r


def test_it_is_the_ridge_regression_on_what_it_has_seen():
    learned, x, r = taught(4 * model.REFIT_EVERY)
    direct = np.linalg.solve(x.T @ x + model.RIDGE * np.eye(3), x.T @ r)
    np.testing.assert_allclose(learned.beta, direct, rtol=1e-12)


def test_it_is_fitted_again_every_so_often_and_not_between():
    before, _, _ = taught(model.REFIT_EVERY)
    between, _, _ = taught(2 * model.REFIT_EVERY - 1)
    after, _, _ = taught(2 * model.REFIT_EVERY)
    assert (before.beta == between.beta).all()
    assert (before.beta != after.beta).all()


def test_saying_nothing_is_predicted_to_be_worth_nothing():
    learned, _, _ = taught(100)
    assert model.predict(learned, np.zeros((1, 3)))[0] == 0


def test_models_of_two_partitions_add_up():
    a, _, _ = taught(50, seed=1)
    b, _, _ = taught(70, seed=2)
    both, _, _ = taught(0)
    for seed, n in ((1, 50), (2, 70)):
        _, x, r = taught(n, seed=seed)
        for one, reward in zip(x, r, strict=True):
            both = model.learn(both, one, np.array(reward))
    np.testing.assert_allclose(model.merged(a, b).beta, model.refitted(both).beta, rtol=1e-12)


def test_many_streams_learn_what_each_learns_alone():
    rng = np.random.default_rng(3)
    x, r = rng.standard_normal((40, 2, 3)), rng.standard_normal((40, 2))
    together, alone = model.empty(3, shape=(2,)), model.empty(3)
    for xs, rs in zip(x, r, strict=True):
        together = model.learn(together, xs, rs)
        alone = model.learn(alone, xs[1], rs[1])
    np.testing.assert_allclose(together.beta[1], alone.beta, rtol=1e-12)

"""What one person teaches about everybody is what the whole mixed model says, and the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables import linear, marginal, sums
from tables.linear import Floats
from tables.marginal import Epoch
from tables.sums import HALF_LIFE_MS, SCALE, Taught
from tables.totals import Totals, merged

D, Q, NOISE, SPREAD = 6, 3, 0.18, 0.05
START_MS = 740 * HALF_LIFE_MS
EPOCH = Epoch(precision=np.eye(Q) * (NOISE / SPREAD), mean=np.linspace(-0.2, 0.2, D), noise=NOISE)
SIZE = marginal.size(d=D, q=Q)


def people(n: int, *, reactions: int, seed: int) -> tuple[list[Taught], list[tuple[Floats, Floats]]]:
    """Their sums, and the very features and rewards that these hold."""
    chance = np.random.default_rng(seed)
    taught, raw = [], []
    for _ in range(n):
        x, r = chance.integers(-64, 65, (reactions, D)), chance.integers(-64, 65, reactions)
        one = sums.nothing(D)
        for row, reward in zip(x, r, strict=True):
            sums.add(one, x=row, reward=int(reward), time_ms=START_MS)
        one.epoch = 0
        taught.append(one)
        raw.append((x / 64, r / 64))
    return taught, raw


def full(upper: Floats, d: int) -> Floats:
    square = np.zeros((d, d))
    square[np.triu_indices(d)] = upper
    return square + np.triu(square, 1).T


@pytest.mark.parametrize(("n", "reactions"), [(1, 1), (5, 4), (20, 12)])
def test_added_up_it_is_the_dense_mixed_model(n: int, reactions: int) -> None:
    # By generalized least squares on the rewards themselves: the covariance of one person's is σ²I + BΣBᵀ.
    taught, raw = people(n, reactions=reactions, seed=n)
    totals = Totals(epochs={0: EPOCH})
    for one in taught:
        totals.replace(None, one)
    (whole,) = merged(totals.all(), size=SIZE)
    found = whole.contribution / SCALE
    information, right = np.zeros((D, D)), np.zeros(D)
    for x, r in raw:
        inverse = np.linalg.inv(NOISE * np.eye(reactions) + SPREAD * x[:, :Q] @ x[:, :Q].T)
        information += x.T @ inverse @ x
        right += x.T @ inverse @ r
    upper = D * (D + 1) // 2
    # An entry of one person is rounded to 2^-18.
    np.testing.assert_allclose(full(found[:upper], D) / NOISE, information, atol=n * 2**-18 / NOISE)
    np.testing.assert_allclose(found[upper : upper + D] / NOISE, right, atol=n * 2**-18 / NOISE)


def test_the_second_moment_is_that_of_the_persons_posterior() -> None:
    (one,), ((x, r),) = people(1, reactions=9, seed=3)
    b = x[:, :Q]
    covariance = np.linalg.inv(np.eye(Q) / SPREAD + b.T @ b / NOISE)
    theta = covariance @ b.T @ (r - x @ EPOCH.mean) / NOISE
    at = D * (D + 1) // 2 + D
    found = marginal.contribution(one, EPOCH)[at : at + Q * (Q + 1) // 2] / SCALE
    np.testing.assert_allclose(full(found, Q), np.outer(theta, theta) + covariance, atol=2**-18)


def test_someone_of_whom_little_is_known_says_nothing_about_how_people_differ() -> None:
    at = D * (D + 1) // 2 + D
    for reactions, counts in ((2, False), (3, True)):
        (one,), _ = people(1, reactions=reactions, seed=3)
        found = marginal.contribution(one, EPOCH)
        assert bool(found[at : -sums.LOSSES].any()) == counts


@settings(max_examples=40)
@given(st.integers(1, 10**6), st.integers(0, 2**32 - 1))
def test_its_information_stays_positive_semidefinite_at_any_count(times: int, seed: int) -> None:
    # As if everything had been said a million times over: int64 sums, and a person's part that is known to the last bit.
    (one,), _ = people(1, reactions=5, seed=seed)
    one.gram *= times
    one.moment *= times
    one.n *= times
    information = full(marginal.contribution(one, EPOCH)[: D * (D + 1) // 2] / SCALE, D)
    values = np.linalg.eigvalsh(information)
    assert values.min() >= -1e-9 * max(values.max(), 1.0) - D * 2**-18


def test_the_factor_and_the_solution_agree_with_lapack() -> None:
    chance = np.random.default_rng(5)
    a = chance.normal(size=(16, 16))
    a = a @ a.T + np.eye(16)
    b = chance.normal(size=(16, 8))
    upper, solved = a.copy(), b.copy()
    linear.cholesky(upper, -np.inf)
    linear.forward(upper, solved)
    np.testing.assert_allclose(np.triu(upper).T, np.linalg.cholesky(a), atol=1e-12)
    np.testing.assert_allclose(np.triu(upper).T @ solved, b, atol=1e-10)

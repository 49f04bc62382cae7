"""The compiled loops give the bits of the same additions made one after the other, whatever the sizes and the numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.bandit import kernel
from agents.bandit.choice import KEY_HALF, drawn, floored, words
from tables import marginal, sums
from tables.sums import SCALE
from tests.agents import plain
from tests.agents.plain import Told

DRAWS = 64
KEYS = st.integers(0, 2**128 - 1)


@st.composite
def told(draw: st.DrawFn) -> Told:
    """A slate, a person and a belief of any size, some candidates alike, someone who says nothing or nobody."""
    d = draw(st.integers(1, 44))
    q, k = draw(st.integers(0, d)), draw(st.integers(1, 43))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = chance.integers(-64, 65, (k, d))
    if draw(st.booleans()):
        x = x[chance.integers(0, k, k)]
    silent = draw(st.integers(-1, k - 1))
    if silent >= 0:
        x[silent] = 0
    one = sums.nothing(d)
    for row in chance.integers(-64, 65, (draw(st.integers(0, 12)), d)):
        sums.add(one, x=row, reward=int(chance.integers(-64, 65)), time_ms=0)
    root = chance.normal(size=(d, d)) * draw(st.sampled_from((1.0, 1e-9, 0.0)))
    covariance = np.linalg.inv(np.eye(d) * 25 + root @ root.T)
    factor = np.zeros((d, -(-d // 4) * 4))
    factor[:, :d] = np.linalg.cholesky(covariance)
    gate = draw(st.sampled_from((0.0, 0.5, 1.0)) | st.floats(0, 1))
    cost = draw(st.integers(0, 64)) / 64
    return Told(
        np.ascontiguousarray(x), one.gram, one.moment, 64 / (SCALE * 91), chance.normal(size=d), factor,
        np.eye(q) * 18.0 + 0.25, 0.18, gate, cost, silent,
    )  # fmt: skip


@settings(max_examples=150)
@given(told(), KEYS, st.integers(0, 64), st.integers(0, 64), st.integers(0, 1000))
def test_one_call_chooses_what_plain_loops_choose(
    told: Told, key: int, exploration: int, optimism: int, floor_permille: int
) -> None:
    k = len(told.x)
    width, raised = exploration / 64, optimism / 64
    scored, whole, chosen = kernel.choose(*told, key & KEY_HALF, key >> 64, DRAWS, width, raised, floor_permille)
    want, covariance = plain.expect(told)
    raw = np.random.Philox(key=key).random_raw(kernel.words_for(k, draws=DRAWS) + 1)
    won = plain.draws_won(want[0], covariance, raw, draws=DRAWS, width=width, optimism=raised)
    numerators, denominator = floored(won, floor_permille=floor_permille)
    assert (scored == want).all()
    assert whole.tolist() == [won, numerators]
    assert chosen == drawn(numerators, denominator, word=int(raw[-1]))


@settings(max_examples=100)
@given(told())
def test_the_covariance_is_that_of_plain_loops(told: Told) -> None:
    k = len(told.x)
    scored, covariance = kernel.expect(*told)
    want, plainly = plain.expect(told)
    assert (scored == want).all()
    assert (np.triu(covariance[:, :k]) == np.triu(plainly)).all()


@settings(max_examples=100)
@given(told(), st.booleans())
def test_what_a_person_adds_for_everybody_is_that_of_plain_loops(told: Told, counts: bool) -> None:
    d, q = len(told.moment), len(told.precision)
    found = np.zeros(marginal.size(d=d, q=q), dtype=np.int64)
    marginal._contribution(
        told.gram, told.moment, told.scale, told.precision, told.mean, told.noise, float(SCALE), counts, found
    )
    assert found[: -sums.LOSSES].tolist() == plain.contribution(told, unit=float(SCALE), counts=counts)


@given(KEYS, st.integers(1, 700))
@example(2**128 - 1, 1)
@example(0, 4)
def test_random_words_are_those_of_numpys_philox(key: int, n: int) -> None:
    assert (words(key=key, n=n) == np.random.Philox(key=key).random_raw(n)).all()

"""What every policy owes, whatever its mathematics, and what Thompson sampling owes beside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.features import NAMES, VERSION, D
from agents.policies import POLICIES, Policy, lin_ts
from agents.policies.choice import choose, normals, words
from agents.reward import DEFAULT
from oo.v1 import policy_pb2, row_pb2
from tables import sums
from tests.agents.build import MONDAY_MS, config

EVERY = pytest.mark.parametrize("policy", list(POLICIES.values()), ids=list(POLICIES))
ONE = 64
RANDOM_X = st.integers(1, 12).flatmap(
    lambda k: st.lists(st.lists(st.integers(-64, 64), min_size=D, max_size=D), min_size=k, max_size=k)
)


def slate(k: int, *, seed: int = 1) -> np.ndarray:
    """k candidates, the last of which says nothing; (k, D)."""
    raw = words(key=seed, n=k * D).reshape(k, D)
    x = (raw % np.uint64(129)).astype(np.int64) - 64
    x[:, 0] = ONE
    x[-1] = 0
    return x


def planted(*, liked: int, disliked: int, n: int = 400) -> row_pb2.Sums:
    """What people taught who do what has one feature and dismiss what has another."""
    total = sums.empty(d=D, feature_version=VERSION)
    for i in range(n):
        x = [0] * D
        x[0] = ONE
        x[liked if i % 2 else disliked] = ONE
        total = sums.add(total, x=x, reward=ONE if i % 2 else -16, time_ms=MONDAY_MS)
    return total


def fitted(policy: Policy, taught: row_pb2.Sums) -> policy_pb2.PolicyVersion:
    return policy.fit(taught, sequence=1, config=DEFAULT, now_ms=MONDAY_MS)


# Every policy


@EVERY
@settings(max_examples=60)
@given(rows=RANDOM_X, key=st.integers(0, 2**128 - 1))
def test_probabilities_are_whole_numbers_that_sum_to_one(policy: Policy, rows: list[list[int]], key: int) -> None:
    choice = policy.pmf(policy.prior(config=DEFAULT), np.array([*rows, [0] * D]), silent=len(rows), key=key)
    assert sum(choice.numerators) == choice.denominator
    assert all(isinstance(one, int) and one >= 0 for one in choice.numerators)


@EVERY
@settings(max_examples=60)
@given(rows=RANDOM_X, key=st.integers(0, 2**128 - 1), floor=st.integers(0, 1000))
def test_every_eligible_candidate_has_at_least_the_floor(
    policy: Policy, rows: list[list[int]], key: int, floor: int
) -> None:
    version = policy.prior(config=config(floor_permille=floor))
    choice = policy.pmf(version, np.array([*rows, [0] * D]), silent=len(rows), key=key)
    k = len(rows) + 1
    assert all(one * 1000 * k >= floor * choice.denominator for one in choice.numerators)


@EVERY
def test_one_candidate_alone_is_certain(policy: Policy) -> None:
    choice = policy.pmf(policy.prior(config=DEFAULT), np.zeros((1, D), dtype=np.int64), silent=0, key=7)
    assert (choice.chosen, choice.propensity(0)) == (0, 1.0)


@EVERY
def test_the_same_key_gives_the_same_choice(policy: Policy) -> None:
    version = policy.prior(config=DEFAULT)
    assert policy.pmf(version, slate(9), silent=8, key=5) == policy.pmf(version, slate(9), silent=8, key=5)


@EVERY
def test_different_keys_give_different_choices(policy: Policy) -> None:
    version = policy.prior(config=DEFAULT)
    assert len({policy.pmf(version, slate(9), silent=8, key=key).chosen for key in range(60)}) > 1


@EVERY
@settings(max_examples=60)
@given(order=st.permutations(list(range(8))), key=st.integers(0, 2**64))
def test_the_order_of_the_slate_moves_probabilities_along_and_changes_none(
    policy: Policy, order: list[int], key: int
) -> None:
    version, x = policy.prior(config=DEFAULT), slate(8)
    straight = policy.pmf(version, x, silent=7, key=key)
    shuffled = policy.pmf(version, x[order], silent=order.index(7), key=key)
    assert [straight.numerators[i] for i in order] == list(shuffled.numerators)
    assert [straight.scores[i] for i in order] == list(shuffled.scores)


@EVERY
def test_candidates_are_drawn_as_often_as_their_probability_says(policy: Policy) -> None:
    # The probabilities differ from key to key, so each draw is held against its own; chi-square over 4,000 draws.
    version, x = policy.prior(config=DEFAULT), slate(6)
    drawn, expected = np.zeros(6), np.zeros(6)
    for key in range(4000):
        choice = policy.pmf(version, x, silent=5, key=key)
        drawn[choice.chosen] += 1
        expected += np.array(choice.numerators) / choice.denominator
    assert expected.min() > 5
    # 25.7 is the 99.99 % point at five degrees of freedom; the keys are fixed, so this never flickers.
    assert (((drawn - expected) ** 2) / expected).sum() < 25.7


@EVERY
def test_saying_nothing_scores_zero_and_costs_nothing(policy: Policy) -> None:
    for interruption_cost in (0, 64):
        version = policy.prior(config=config(interruption_cost=interruption_cost))
        assert policy.pmf(version, slate(5), silent=4, key=3).scores[4] == 0.0


@EVERY
def test_a_greater_interruption_cost_speaks_less(policy: Policy) -> None:
    said = []
    for cost in (0, 16, 64):
        version = policy.prior(config=config(interruption_cost=cost))
        said.append(sum(policy.pmf(version, slate(5), silent=4, key=key).draws_won[4] for key in range(50)))
    assert said[0] < said[1] < said[2]


@EVERY
def test_a_planted_preference_is_learned(policy: Policy) -> None:
    liked, disliked = NAMES.index("morning"), NAMES.index("evening")
    version = fitted(policy, planted(liked=liked, disliked=disliked))
    x = np.zeros((3, D), dtype=np.int64)
    x[:2, 0] = ONE
    x[0, liked] = x[1, disliked] = ONE
    wins = np.sum([policy.pmf(version, x, silent=2, key=key).draws_won for key in range(40)], axis=0)
    assert wins[0] > 0.95 * wins.sum()


@EVERY
def test_nothing_taught_is_the_prior_to_rounding(policy: Policy) -> None:
    version = fitted(policy, sums.empty(d=D, feature_version=VERSION))
    prior = policy.prior(config=DEFAULT)
    np.testing.assert_allclose(np.frombuffer(version.mean), np.frombuffer(prior.mean), atol=1e-12)
    np.testing.assert_allclose(np.frombuffer(version.factor), np.frombuffer(prior.factor), atol=1e-12)


@EVERY
def test_a_version_carries_the_hash_of_its_content_in_its_id(policy: Policy) -> None:
    ids = {
        policy.prior(config=DEFAULT).version_id,
        policy.prior(config=config(reward_done=63)).version_id,
        fitted(policy, planted(liked=13, disliked=15)).version_id,
        fitted(policy, planted(liked=13, disliked=15, n=399)).version_id,
    }
    assert len(ids) == 4
    assert policy.prior(config=DEFAULT).version_id in ids


def test_the_priors_id_stands_still() -> None:
    # It names every decision before the first mark; where it changes on purpose, the golden journal changes too.
    assert lin_ts.prior(config=DEFAULT).version_id == "lin_ts-0-0f124c83fea8e0ab"


@EVERY
def test_pmf_reads_its_numbers_from_the_versions_bytes_alone(policy: Policy) -> None:
    version = fitted(policy, planted(liked=13, disliked=15))
    again = policy_pb2.PolicyVersion.FromString(version.SerializeToString())
    assert policy.pmf(version, slate(7), silent=6, key=9) == policy.pmf(again, slate(7), silent=6, key=9)


# Thompson sampling


@settings(max_examples=25)
@given(st.lists(st.tuples(st.lists(st.integers(-64, 64), min_size=D, max_size=D), st.integers(-64, 64)), max_size=12))
def test_the_posterior_covariance_is_positive_definite(taught: list[tuple[list[int], int]]) -> None:
    total = sums.empty(d=D, feature_version=VERSION)
    for x, reward in taught:
        total = sums.add(total, x=x, reward=reward, time_ms=MONDAY_MS)
    factor = np.frombuffer(fitted(lin_ts, total).factor).reshape(D, D)
    assert np.all(np.diag(factor) > 0)
    assert np.allclose(factor, np.tril(factor))
    assert np.linalg.eigvalsh(factor @ factor.T).min() > 0


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(-64, 64), min_size=D, max_size=D), st.integers(-64, 64)), min_size=1, max_size=12
    )
)
def test_the_posterior_is_that_of_bayesian_regression_on_the_reactions_themselves(
    taught: list[tuple[list[int], int]],
) -> None:
    total = sums.empty(d=D, feature_version=VERSION)
    start_ms = MONDAY_MS // sums.HALF_LIFE_MS * sums.HALF_LIFE_MS
    for x, reward in taught:
        total = sums.add(total, x=x, reward=reward, time_ms=start_ms)
    version = lin_ts.fit(total, sequence=1, config=DEFAULT, now_ms=start_ms)
    features, rewards = np.array([x for x, _ in taught]) / ONE, np.array([r for _, r in taught]) / ONE
    prior_mean = np.frombuffer(lin_ts.prior(config=DEFAULT).mean)
    # By stacking the prior as rows of a least squares problem: no Gram matrix is made.
    stacked = np.vstack([features / 0.18**0.5, np.eye(D) / 0.2])
    wanted = np.concatenate([rewards / 0.18**0.5, prior_mean / 0.2])
    mean, *_ = np.linalg.lstsq(stacked, wanted, rcond=None)
    np.testing.assert_allclose(np.frombuffer(version.mean), mean, atol=1e-9)
    factor = np.frombuffer(version.factor).reshape(D, D)
    np.testing.assert_allclose(factor @ factor.T, np.linalg.inv(stacked.T @ stacked), atol=1e-9)


def test_what_was_taught_long_ago_weighs_less() -> None:
    taught = planted(liked=13, disliked=15, n=40)
    far_ms = MONDAY_MS + 20 * sums.HALF_LIFE_MS
    old = lin_ts.fit(taught, sequence=1, config=DEFAULT, now_ms=far_ms)
    np.testing.assert_allclose(np.frombuffer(old.mean), np.frombuffer(lin_ts.prior(config=DEFAULT).mean), atol=1e-3)


def test_no_exploration_picks_the_greatest_expected_score_every_time() -> None:
    version = lin_ts.prior(config=config(exploration=0, floor_permille=0))
    choice = lin_ts.pmf(version, slate(9), silent=8, key=2)
    assert choice.draws_won[choice.chosen] == lin_ts.DRAWS
    assert choice.scores[choice.chosen] == max(choice.scores)


def test_two_equal_candidates_share_what_they_win() -> None:
    x = slate(4)
    x[1] = x[0]
    choice = lin_ts.pmf(lin_ts.prior(config=DEFAULT), x, silent=3, key=2)
    assert choice.draws_won[0] > 0
    assert abs(choice.draws_won[0] - choice.draws_won[1]) <= choice.draws_won[0] / 2


def test_shares_agree_with_thompson_sampling_by_library_arithmetic() -> None:
    # Independent of the code under test: normal draws and BLAS, a thousand times as many.
    version, x = lin_ts.prior(config=DEFAULT), slate(6)
    mean, factor = np.frombuffer(version.mean), np.frombuffer(version.factor).reshape(D, D)
    draws = np.random.default_rng(1).standard_normal((60_000, D)) * (DEFAULT.exploration / ONE)
    scores = (mean + draws @ factor.T) @ (x / ONE).T - DEFAULT.interruption_cost / ONE
    scores[:, 5] = 0
    want = np.bincount(scores.argmax(axis=1), minlength=6) / 60_000
    won = np.sum([lin_ts.pmf(version, x, silent=5, key=key).draws_won for key in range(1000)], axis=0)
    assert np.abs(won / won.sum() - want).max() < 0.012


# Draws


def test_normals_have_mean_0_and_variance_1_within_6() -> None:
    n = 200_000
    z = normals(words(key=3, n=3 * n), shape=(n, 1))
    assert abs(z.mean()) < 4 / n**0.5
    assert abs(z.var() - 1) < 4 * (2 / n) ** 0.5
    assert np.abs(z).max() <= 6


def test_normals_are_made_of_every_bit_that_they_are_given() -> None:
    raw = words(key=3, n=3)
    flipped = [normals(raw ^ np.uint64(1 << bit), shape=(1, 1))[0, 0] for bit in range(64)]
    assert normals(raw, shape=(1, 1))[0, 0] not in flipped


def test_words_stand_still() -> None:
    # Philox 4x64-10: were numpy to change its stream, every replay would change with it.
    assert [int(w) for w in words(key=2**127 + 5, n=2)] == [int(w) for w in words(key=2**127 + 5, n=5)[:2]]
    assert int(words(key=1, n=1)[0]) == 5599841837815857887


@given(
    st.lists(st.integers(0, 64), min_size=1, max_size=60).filter(any), st.integers(0, 2**64 - 1), st.integers(0, 1000)
)
def test_a_draw_falls_on_a_candidate_that_can_be_drawn(won: list[int], word: int, floor: int) -> None:
    choice = choose(tuple(won), floor_permille=floor, word=word, scores=(0.0,) * len(won))
    assert choice.numerators[choice.chosen] > 0


def test_the_first_and_the_last_word_fall_on_the_first_and_the_last_candidate() -> None:
    for word, place in ((0, 0), (2**64 - 1, 2)):
        assert choose((1, 1, 1), floor_permille=20, word=word, scores=(0.0,) * 3).chosen == place

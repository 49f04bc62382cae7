"""What every policy owes, whatever its mathematics, and what the mixed-effects one owes beside."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.bandit import expected, kernel
from agents.bandit.belief import Belief, belief
from agents.bandit.choice import Choice, drawn, floored, words
from agents.features import FIRST, NAMES, NOW, D
from agents.in_memory import InMemory
from agents.policies import POLICIES, Policy, mixed
from agents.prior import SHAPE, fit, prior
from agents.reward import DEFAULT
from oo.v1 import policy_pb2
from streams.units import DAY_MS, HOUR_MS
from tables import marginal, sums
from tables.sums import Predicted, Taught
from tables.totals import Totals, merged
from tests.agents.build import MONDAY_MS, config, said

EVERY = pytest.mark.parametrize("policy", list(POLICIES.values()), ids=list(POLICIES))
SERVED = [policy for policy in POLICIES.values() if policy.servable]
LEARNING = pytest.mark.parametrize("name", [name for name in POLICIES if name not in ("random", "mixed_rff")])
ONE = 64
RANDOM_X = st.integers(1, 12).flatmap(
    lambda k: st.lists(st.lists(st.integers(-64, 64), min_size=D, max_size=D), min_size=k, max_size=k)
)
PLAIN = Predicted(0, 0, 0)
SIZE = marginal.size(d=SHAPE.d, q=SHAPE.q)


def slate(k: int, *, seed: int = 1) -> np.ndarray:
    """k candidates, the last of which says nothing; (k, D)."""
    raw = words(key=seed, n=k * D).reshape(k, D)
    x = (raw % np.uint64(129)).astype(np.int64) - 64
    x[:, 0] = ONE
    x[-1] = 0
    return x


def of(*, policy: str = "mixed", **changes: int) -> Belief:
    """What is believed before anyone has reacted."""
    return belief(prior(policy, config=config(**changes)))


def choose(
    policy: Policy, x: np.ndarray, *, key: int, taught: Taught | None = None, silent: int | None = -1, **changes: int
) -> Choice:
    """Its choice on the prior; of a policy that expands, on as many features made of these."""
    if policy.expand is None:
        believed, taught = of(**changes), taught or sums.nothing(D)
    else:
        x = policy.expand(x)
        believed, taught = InMemory(policy.name, shape=SHAPE, config=config(**changes)).belief, sums.nothing(x.shape[1])
    place = len(x) - 1 if silent == -1 else silent
    return policy.pmf(believed, taught, x, silent=place, now_ms=MONDAY_MS, key=key)


def taught_by(n: int, *, seed: int = 7, known: int = 0) -> Taught:
    """Someone who reacted n times to random candidates."""
    one = sums.nothing(D)
    x = slate(n + 1, seed=seed)
    for i in range(n):
        reward = ONE if x[i, 3] > 0 else -16
        sums.add(one, x=x[i], reward=reward, time_ms=MONDAY_MS, predicted=Predicted(0, reward * 8, known))
    one.epoch = prior().epoch
    return one


def version_of(people: list[Taught], *, policy: str = "mixed", now_ms: int = MONDAY_MS) -> policy_pb2.PolicyVersion:
    first = prior(policy)
    totals = Totals(epochs={first.epoch: belief(first).epoch})
    for one in people:
        totals.replace(None, one)
    return fit(policy, merged(totals.all(), size=SIZE), before=first, config=DEFAULT, now_ms=now_ms)


# Every policy


@EVERY
@settings(max_examples=40)
@given(rows=RANDOM_X, key=st.integers(0, 2**128 - 1))
def test_probabilities_are_whole_numbers_that_sum_to_one(policy: Policy, rows: list[list[int]], key: int) -> None:
    choice = choose(policy, np.array([*rows, [0] * D]), key=key)
    assert sum(choice.numerators) == choice.denominator
    assert all(isinstance(one, int) and one >= 0 for one in choice.numerators)


@EVERY
@settings(max_examples=40)
@given(rows=RANDOM_X, key=st.integers(0, 2**128 - 1), floor=st.integers(0, 1000))
def test_every_eligible_candidate_has_at_least_the_floor(
    policy: Policy, rows: list[list[int]], key: int, floor: int
) -> None:
    choice = choose(policy, np.array([*rows, [0] * D]), key=key, floor_permille=floor)
    k = len(rows) + 1
    assert all(one * 1000 * k >= floor * choice.denominator for one in choice.numerators)


@EVERY
def test_one_candidate_alone_is_certain(policy: Policy) -> None:
    choice = choose(policy, np.zeros((1, D), dtype=np.int64), key=7)
    assert (choice.chosen, choice.propensity(0)) == (0, 1.0)


@EVERY
def test_the_same_key_gives_the_same_choice(policy: Policy) -> None:
    assert said(choose(policy, slate(9), key=5)) == said(choose(policy, slate(9), key=5))


@EVERY
def test_different_keys_give_different_choices(policy: Policy) -> None:
    assert len({choose(policy, slate(9), key=key, floor_permille=200).chosen for key in range(60)}) > 1


@EVERY
@settings(max_examples=40)
@given(order=st.permutations(list(range(8))))
def test_the_order_of_the_slate_moves_scores_along_and_changes_none(policy: Policy, order: list[int]) -> None:
    x, taught = slate(8), taught_by(5)
    straight = choose(policy, x, key=1, silent=7, taught=taught)
    shuffled = choose(policy, x[order], key=1, silent=order.index(7), taught=taught)
    if straight.scores:
        assert [straight.scores[i] for i in order] == list(shuffled.scores)


@EVERY
def test_the_order_of_the_slate_favours_nobody(policy: Policy) -> None:
    # What draws decide moves a little from order to order, as from key to key; in the mean it does not.
    x, order = slate(8), [3, 0, 6, 7, 1, 5, 2, 4]
    straight = np.mean([choose(policy, x, key=key, silent=7).numerators for key in range(200)], axis=0)
    shuffled = np.mean([choose(policy, x[order], key=key, silent=3).numerators for key in range(200)], axis=0)
    assert np.abs(straight[order] - shuffled).max() < 0.02 * straight.sum()


@EVERY
def test_candidates_are_drawn_as_often_as_their_probability_says(policy: Policy) -> None:
    # The probabilities differ from key to key, so each draw is held against its own; chi-square over 3,000 draws.
    x, drawn_n, want = slate(6), np.zeros(6), np.zeros(6)
    for key in range(3000):
        choice = choose(policy, x, key=key, floor_permille=60)
        drawn_n[choice.chosen] += 1
        want += np.array(choice.numerators) / choice.denominator
    assert want.min() > 5
    # 25.7 is the 99.99 % point at five degrees of freedom; the keys are fixed, so this never flickers.
    assert (((drawn_n - want) ** 2) / want).sum() < 25.7


@EVERY
def test_a_slate_without_silence_is_chosen_from_as_well(policy: Policy) -> None:
    choice = choose(policy, slate(5)[:4], key=3, silent=None)
    assert sum(choice.numerators) == choice.denominator


@pytest.mark.parametrize("policy", SERVED, ids=lambda one: one.name)
def test_saying_nothing_scores_zero_and_costs_nothing(policy: Policy) -> None:
    for interruption_cost in (0, 64):
        scores = choose(policy, slate(5), key=3, interruption_cost=interruption_cost).scores
        assert not scores or scores[4] == 0.0


@LEARNING
def test_a_greater_interruption_cost_speaks_less(name: str) -> None:
    said = []
    for cost in (0, 16, 64):
        choices = (choose(POLICIES[name], slate(5), key=key, interruption_cost=cost) for key in range(50))
        said.append(sum(choice.propensity(4) for choice in choices))
    assert said[0] <= said[1] <= said[2]
    assert said[0] < said[2]


@LEARNING
def test_a_planted_preference_is_learned(name: str) -> None:
    learner, liked, disliked = InMemory(name, shape=SHAPE, config=DEFAULT), NAMES.index("short"), NAMES.index("novel")
    x = np.zeros((3, D), dtype=np.int64)
    x[:2, 0] = ONE
    x[0, liked] = x[1, disliked] = ONE
    for n in range(400):
        learner.learn(
            f"person {n % 20}", x, action=n % 2, reward=(1.0, -0.25)[n % 2], propensity=0.5, time_ms=MONDAY_MS + n
        )
    p = np.mean(
        [learner.pmf("someone new", x, silent=2, time_ms=MONDAY_MS + 400, key=key) for key in range(40)], axis=0
    )
    assert p[0] > 0.9


@settings(max_examples=60)
@given(
    rows=RANDOM_X,
    silent=st.sampled_from([None, 0, -1]),
    heard=st.integers(0, 20),
    changes=st.fixed_dictionaries({"floor_permille": st.sampled_from([1, 20, 200]), "optimism": st.integers(0, 64)}),
    expands=st.booleans(),
    key=st.integers(0, 2**120),
)
def test_several_that_are_asked_in_one_call_say_to_the_bit_what_each_says_alone(
    rows: list[list[int]], silent: int | None, heard: int, changes: dict[str, int], expands: bool, key: int
) -> None:
    those = [one for one in POLICIES.values() if one.way is not None and (one.expand is not None) == expands]
    x = np.array(rows)
    by = InMemory(those[0].name, shape=SHAPE, config=config(**changes), refit_every=7)
    for n, row in enumerate(slate(heard, seed=3) if heard else []):
        by.teach("ada", row[None], reward=(-1) ** n, time_ms=MONDAY_MS, expected=Predicted(0, 300, n % 4))
    told = {"silent": silent if silent is None else silent % len(x), "time_ms": MONDAY_MS + 40 * DAY_MS}
    keys = [key + place for place in range(len(those))]
    ways = expected.spelled([one.way for one in those if one.way is not None])
    found = by.pmfs(by.taught("ada"), x, ways, keys=keys, **told)  # type: ignore[arg-type]
    for one, own_key, pmf in zip(those, keys, found.pmfs, strict=True):
        alone = by.choose(by.taught("ada"), x, key=own_key, policy=one.name, **told)  # type: ignore[arg-type]
        assert pmf == (np.array(alone.numerators) / alone.denominator).tolist(), one.name
        assert (found.shared, found.own, found.known) == (alone.shared, alone.own, alone.known)


@pytest.mark.parametrize("policy", SERVED, ids=lambda one: one.name)
def test_pmf_reads_its_numbers_from_the_versions_bytes_alone(policy: Policy) -> None:
    version = version_of([taught_by(9)], policy=policy.name)
    again = policy_pb2.PolicyVersion.FromString(version.SerializeToString())
    one, other = (
        policy.pmf(belief(v), taught_by(3), slate(7), silent=6, now_ms=MONDAY_MS, key=9) for v in (version, again)
    )
    assert said(one) == said(other)


# Versions


def test_nothing_taught_is_the_prior_to_rounding() -> None:
    version, first = version_of([]), prior()
    np.testing.assert_allclose(np.frombuffer(version.mean), np.frombuffer(first.mean), atol=1e-12)
    np.testing.assert_allclose(np.frombuffer(version.factor), np.frombuffer(first.factor), atol=1e-12)
    assert (version.epoch, version.precision) == (first.epoch, first.precision)


def test_a_version_carries_the_hash_of_its_content_in_its_id() -> None:
    ids = {
        prior().version_id,
        prior(config=config(reward_done=63)).version_id,
        prior("lin_ts").version_id,
        version_of([taught_by(9)]).version_id,
        version_of([taught_by(10)]).version_id,
    }
    assert len(ids) == 5
    assert prior().version_id in ids


def test_the_priors_id_stands_still() -> None:
    # It names every decision before the first mark; where it changes on purpose, the golden journal changes too.
    assert prior(space=FIRST).version_id == "mixed-0-1063f1866a2a59dc"


def test_a_version_names_the_features_that_it_was_fitted_to() -> None:
    version = version_of([])
    assert version.features.version == version.feature_version == NOW.version
    assert [one.name for one in version.features.features] == list(NAMES[:D])


@settings(max_examples=25)
@given(st.lists(st.integers(0, 40), max_size=12))
def test_the_posterior_covariance_is_positive_definite(counts: list[int]) -> None:
    version = version_of([taught_by(n, seed=n) for n in counts])
    factor = belief(version).factor
    assert np.all(np.diag(factor) > 0)
    assert np.allclose(factor, np.tril(factor))
    assert np.linalg.eigvalsh(factor @ factor.T).min() > 0


@pytest.mark.parametrize("times", [1, 1000, 10**6])
def test_it_is_numerically_stable_at_any_count(times: int) -> None:
    one = taught_by(20)
    one.gram, one.moment, one.n = one.gram * times, one.moment * times, one.n * times
    version = version_of([one])
    assert np.all(np.isfinite(belief(version).factor))
    choice = mixed.pmf(belief(version), one, slate(9), silent=8, now_ms=MONDAY_MS, key=1)
    assert sum(choice.numerators) == choice.denominator
    assert np.all(np.isfinite(choice.scores))


def crowd(epoch: int, *, n: int = 200) -> list[Taught]:
    """People of that epoch who differ in how much priority matters to them, and in nothing else."""
    chance, found = np.random.default_rng(3), []
    for _ in range(n):
        taste, one = np.where(np.arange(D) == NAMES.index("priority"), chance.normal(), 0.0), sums.nothing(D)
        for x in slate(13, seed=int(chance.integers(10**6)))[:-1]:
            sums.add(one, x=x, reward=int(np.clip(x @ taste, -64, 64)), time_ms=MONDAY_MS)
        one.epoch = epoch
        found.append(one)
    return found


def next_version(people: list[Taught], *, after: policy_pb2.PolicyVersion) -> policy_pb2.PolicyVersion:
    totals = Totals(epochs={one.epoch: belief(one).epoch for one in (prior(), after)})
    for one in people:
        totals.replace(None, one)
    return fit("mixed", merged(totals.all(), size=SIZE), before=after, config=DEFAULT, now_ms=MONDAY_MS)


def test_the_first_epoch_only_says_where_differences_are_taken_from() -> None:
    first, second = prior(), next_version(crowd(prior().epoch), after=prior())
    assert second.epoch != first.epoch
    assert second.precision == first.precision
    assert second.epoch_mean == second.mean


def test_people_who_differ_begin_an_epoch_with_a_wider_spread() -> None:
    second = next_version(crowd(prior().epoch), after=prior())
    third = next_version(crowd(second.epoch), after=second)
    spread = 0.18 * np.linalg.inv(belief(third).epoch.precision)
    assert third.epoch != second.epoch
    assert np.diag(spread).argmax() == NAMES.index("priority")
    assert spread[3, 3] > 1.5 * np.median(np.diag(spread))
    assert np.linalg.eigvalsh(spread).min() > 0


def test_an_epoch_goes_on_until_half_of_the_people_have_spoken_in_it() -> None:
    second = next_version(crowd(prior().epoch), after=prior())
    few = [*crowd(prior().epoch, n=101), *crowd(second.epoch, n=99)]
    assert next_version(few, after=second).epoch == second.epoch
    enough = [*crowd(prior().epoch, n=99), *crowd(second.epoch, n=101)]
    assert next_version(enough, after=second).epoch != second.epoch


def test_the_gate_opens_where_ones_own_part_predicted_better_and_closes_where_it_did_not() -> None:
    better, worse = sums.nothing(D), sums.nothing(D)
    for n in range(40):
        told = Predicted(shared=0, own=900, known=3)
        sums.add(better, x=slate(41)[n], reward=ONE, time_ms=MONDAY_MS, predicted=told)
        sums.add(worse, x=slate(41)[n], reward=0, time_ms=MONDAY_MS, predicted=told)
    better.epoch = worse.epoch = prior().epoch
    assert version_of([better]).gate[3] > 0.99
    assert version_of([worse]).gate[3] < 0.01
    assert version_of([better]).gate[0] == 0.5


def test_what_was_taught_long_ago_weighs_less() -> None:
    old, new = taught_by(40), taught_by(1, seed=3)
    far_ms = MONDAY_MS + 20 * sums.HALF_LIFE_MS
    sums.add(new, x=[0] * D, reward=0, time_ms=far_ms)
    version = version_of([old, new], now_ms=far_ms)
    np.testing.assert_allclose(np.frombuffer(version.mean), np.frombuffer(prior().mean), atol=1e-3)


def test_after_a_drift_all_that_was_taught_counts_half() -> None:
    people, first = [taught_by(30, seed=seed) for seed in range(5)], prior()
    totals = Totals(epochs={first.epoch: belief(first).epoch})
    for one in people:
        totals.replace(None, one)
    whole = merged(totals.all(), size=SIZE)
    at_once = fit("mixed", whole, before=first, config=DEFAULT, now_ms=MONDAY_MS)
    drifted = fit("mixed", whole, before=first, config=DEFAULT, now_ms=MONDAY_MS, discount=0.5)
    information = [np.linalg.inv(b.factor @ b.factor.T) for b in (belief(first), belief(at_once), belief(drifted))]
    np.testing.assert_allclose(information[2] - information[0], (information[1] - information[0]) / 2, atol=1e-6)
    own = [
        expected.expected(belief(version), people[0], slate(4), silent=3, now_ms=MONDAY_MS).scored
        for version in (at_once, drifted)
    ]
    assert np.abs(own[1][2] - own[1][1]).sum() < np.abs(own[0][2] - own[0][1]).sum()


# The mixed-effects posterior, against the textbook by library arithmetic


def test_scores_are_the_joint_posterior_of_both_levels() -> None:
    # θ and β by one regression: the prior of β is the version's posterior, the data are the person's own reactions.
    chance, q = np.random.default_rng(2), SHAPE.q
    version, one, x = version_of([taught_by(30, seed=4)]), sums.nothing(D), slate(7)
    believed = belief(version)
    raw_x, raw_r = chance.integers(-64, 65, (12, D)), chance.integers(-16, 65, 12)
    for row, reward in zip(raw_x, raw_r, strict=True):
        # At a time whose weight is a round 64: then sums are the plain products.
        sums.add(one, x=row, reward=int(reward), time_ms=MONDAY_MS // sums.HALF_LIFE_MS * sums.HALF_LIFE_MS)
    now_ms = MONDAY_MS // sums.HALF_LIFE_MS * sums.HALF_LIFE_MS
    gate = 0.6
    found = expected.expected(believed, one, x, silent=6, now_ms=now_ms, gate=gate)
    covariance = believed.factor @ believed.factor.T
    rows, r = raw_x / 64, raw_r / 64
    noise, b = 0.18, rows[:, :q]
    posterior = np.linalg.inv(believed.epoch.precision / noise + b.T @ b / noise)
    theta = posterior @ b.T @ (r - rows @ believed.mean) / noise
    wide_x, own_x = x / 64, x[:, :q] / 64
    np.testing.assert_allclose(found.scored[1], wide_x @ believed.mean, atol=1e-9)
    np.testing.assert_allclose(found.scored[2], wide_x @ believed.mean + own_x @ theta, atol=1e-9)
    moved = wide_x - gate * own_x @ posterior @ b.T @ rows / noise
    want = moved @ covariance @ moved.T + gate**2 * own_x @ posterior @ own_x.T
    np.testing.assert_allclose(np.triu(found.covariance[:, :7]), np.triu(want), atol=1e-9)


def test_no_exploration_picks_the_greatest_expected_score_every_time() -> None:
    choice = choose(POLICIES["mixed"], slate(9), key=2, exploration=0, floor_permille=0)
    assert choice.draws_won[choice.chosen] == mixed.DRAWS
    assert choice.scores[choice.chosen] == max(choice.scores)


def test_two_equal_candidates_share_what_they_win() -> None:
    x = slate(4)
    x[1] = x[0]
    won = np.sum([choose(POLICIES["mixed"], x, key=key, exploration=64).draws_won for key in range(50)], axis=0)
    assert won[0] > 0
    assert abs(won[0] - won[1]) <= won[0] / 10


def test_shares_agree_with_thompson_sampling_by_library_arithmetic() -> None:
    # Independent of the code under test: normal draws and BLAS, a thousand times as many.
    believed, x, one = of(exploration=16), slate(6), taught_by(6)
    found = expected.expected(believed, one, x, silent=5, now_ms=MONDAY_MS)
    covariance = np.triu(found.covariance[:, :6])
    covariance += np.triu(covariance, 1).T
    z = np.random.default_rng(1).multivariate_normal(np.zeros(6), covariance, 60_000) * (16 / ONE)
    scores = found.scores + DEFAULT.optimism / ONE * np.sqrt(np.diag(covariance)) + z
    want = np.bincount(scores.argmax(axis=1), minlength=6) / 60_000
    won = np.sum(
        [choose(POLICIES["mixed"], x, key=key, taught=one, exploration=16).draws_won for key in range(1000)], axis=0
    )
    assert np.abs(won / won.sum() - want).max() < 0.012


def test_someone_who_likes_what_others_do_not_is_heard_in_the_same_step() -> None:
    x = np.zeros((3, D), dtype=np.int64)
    x[:2, 0] = ONE
    x[0, 3], x[1, 6] = ONE, ONE
    one = sums.nothing(D)
    before = choose(POLICIES["mixed"], x, key=1, taught=one).propensity(1)
    for _ in range(8):
        sums.add(one, x=x[0], reward=-16, time_ms=MONDAY_MS)
        sums.add(one, x=x[1], reward=ONE, time_ms=MONDAY_MS)
    assert choose(POLICIES["mixed"], x, key=1, taught=one).propensity(1) > before
    alone = choose(POLICIES["lin_ts"], x, key=1)
    assert choose(POLICIES["lin_ts"], x, key=1, taught=one).numerators == alone.numerators


def test_what_they_taught_fades_with_time() -> None:
    one, x = taught_by(12), slate(5)
    at = [
        expected.expected(of(), one, x, silent=4, now_ms=MONDAY_MS + days * DAY_MS).scored
        for days in (0, 28, 280, 28_000)
    ]
    sizes = [float(np.abs(scored[2] - scored[1]).sum()) for scored in at]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3]
    assert sizes[3] < 1e-15


# Learning in memory


def test_a_reward_that_comes_late_counts_as_one_that_came_at_once() -> None:
    at_once, late = (InMemory("mixed", shape=SHAPE, config=DEFAULT, refit_every=100) for _ in range(2))
    told = [(f"p{n % 3}", slate(4, seed=n), n % 3, MONDAY_MS + n * HOUR_MS) for n in range(30)]
    for user, x, action, time_ms in told:
        at_once.learn(user, x, action=action, reward=0.5, propensity=0.3, time_ms=time_ms)
    for user, x, action, time_ms in reversed(told):
        late.learn(user, x, action=action, reward=0.5, propensity=0.3, time_ms=time_ms)
    for user in ("p0", "p1", "p2"):
        assert (at_once.people[user].taught.gram == late.people[user].taught.gram).all()
        assert (at_once.people[user].taught.moment == late.people[user].taught.moment).all()


def test_a_memory_learns_what_rows_and_partitions_learn() -> None:
    learner = InMemory("mixed", shape=SHAPE, config=DEFAULT, refit_every=40)
    for n in range(40):
        learner.learn(f"p{n % 4}", slate(4, seed=n), action=n % 3, reward=0.25, propensity=0.3, time_ms=MONDAY_MS + n)
    people = [copy.deepcopy(one.taught) for one in learner.people.values()]
    version = version_of(people, now_ms=MONDAY_MS + 39)
    assert learner._version.mean == version.mean
    assert learner._version.factor == version.factor


# Draws


def alone(variance: float) -> np.ndarray:
    """The covariance of one candidate's score, as wide as the kernel makes it."""
    covariance = np.zeros((1, 8))
    covariance[0, 0] = variance
    return covariance


def test_near_normals_have_mean_0_and_variance_1() -> None:
    n = 64 * 1_600
    raw = words(key=3, n=n // 4)
    z = kernel.draw(np.zeros(1), alone(1.0), raw, n, 1.0, 0.0)[0] / kernel.GRID
    assert abs(z.mean()) < 1e-9  # each has its mirror image
    assert abs(z.var() - 1) < 4 * (2 / n) ** 0.5
    assert np.abs(z).max() <= 3.47


def test_near_normals_are_made_of_every_bit_that_they_are_given() -> None:
    raw = words(key=3, n=16)

    def first(raw: np.ndarray) -> float:
        return float(kernel.draw(np.zeros(1), alone(64.0), raw, 64, 1.0, 0.0)[0, 0])

    assert first(raw) not in [first(raw ^ np.uint64(1 << bit)) for bit in range(32)]


def test_words_stand_still() -> None:
    # Philox 4x64-10: were numpy to change its stream, every replay would change with it.
    assert [int(w) for w in words(key=2**127 + 5, n=2)] == [int(w) for w in words(key=2**127 + 5, n=5)[:2]]
    assert int(words(key=1, n=1)[0]) == 5599841837815857887


@given(
    st.lists(st.integers(0, 64), min_size=1, max_size=60).filter(any), st.integers(0, 2**64 - 1), st.integers(0, 1000)
)
def test_a_draw_falls_on_a_candidate_that_can_be_drawn(won: list[int], word: int, floor: int) -> None:
    numerators, denominator = floored(won, floor_permille=floor)
    assert numerators[drawn(numerators, denominator, word=word)] > 0


def test_the_first_and_the_last_word_fall_on_the_first_and_the_last_candidate() -> None:
    for word, place in ((0, 0), (2**64 - 1, 2)):
        assert drawn([1, 1, 1], 3, word=word) == place

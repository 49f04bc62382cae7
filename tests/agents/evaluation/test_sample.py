"""A sample, drawn by a probability that was fixed before, says what all decisions say: less narrowly, and as honestly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import pytest

from agents import sample
from agents.evaluation import estimates, gate, model, sequence
from agents.evaluation.counted import UNIT, reward_range
from agents.evaluation.estimates import Estimates
from agents.evaluation.event import Event, Floats, at, weights
from agents.reward import DEFAULT
from bench.decisions.logged import softmax
from bench.decisions.slates import NAMES, Slates, slates
from deploy.simulator.scenario import load

STREAMS = 400
TENTH = 0.1
REWARDS = reward_range(DEFAULT)
WORTH = np.array([DEFAULT.reward_done, DEFAULT.reward_snooze, DEFAULT.reward_dismiss, DEFAULT.reward_expired])
"""What the simulator's outcomes earn: done, snooze, dismiss, ignore."""


def reach(p: float, n: int = STREAMS) -> float:
    """More than this beyond p is seen once in a thousand such runs, if p is true."""
    return 3.1 * sqrt(p * (1 - p) / n)


@dataclass(frozen=True)
class Lives:
    """What many runs of the same people's decisions came to, by how they were sampled."""

    truth: float
    found: dict[str, Estimates]
    plain: Estimates
    """Of the sample by load, with nothing divided."""
    ahead: dict[str, sequence.Sequence]
    difference: float
    """The truth of what the policy earns more than the one that drew, over all decisions."""


def load_of(those: Slates) -> Floats:
    """(n,): 1 where somebody is busy, as the slate shows it; then tips earn less, and there would be little time to look at them."""
    return np.asarray(those.x[:, 0, NAMES.index("busy_now")] > 0, dtype=float)


@pytest.fixture(scope="module")
def lives() -> Lives:
    """Simulated people's slates, decided on STREAMS times over; each time others are in the sample, by the ids of their decisions."""
    those = slates(replace(load("costly_interruptions"), people=30, decisions_per_person=40), seed=5)
    chance, busy = np.random.default_rng(11), load_of(those)
    n, k, d = those.x.shape
    x = those.x / 64
    outcome_worth = (WORTH - DEFAULT.interruption_cost) / UNIT
    # Busy people's tips are worth less still, so that load and reward surely go together.
    shares = those.shares.copy()
    moved = 0.5 * busy[:, None] * shares[..., 0]
    shares[..., 0] -= moved
    shares[..., 2] += moved
    mean = shares @ outcome_worth
    logging, target = (softmax(x @ (chance.standard_normal(d) * s)) for s in (0.3, 0.6))
    probability = {"all": np.ones(n), "tenth": np.full(n, TENTH), "by load": np.where(busy > 0, TENTH, 1.0)}
    found = {name: estimates.empty(shape=(STREAMS,)) for name in probability}
    ahead = {
        name: sequence.empty("difference", rewards=REWARDS, shape=(STREAMS,), share=float(one.min()))
        for name, one in probability.items()
    }
    plain, predictor = estimates.empty(shape=(STREAMS,)), model.empty(d, shape=(STREAMS,))
    for i in range(n):
        pmf, other = np.tile(logging[i], (STREAMS, 1)), np.tile(target[i], (STREAMS, 1))
        action = (chance.random((STREAMS, 1)) < pmf.cumsum(axis=-1)).argmax(axis=-1)
        luck = chance.random((STREAMS, 1)) < shares[i, action].cumsum(axis=-1)
        reward = outcome_worth[luck.argmax(axis=-1)]
        all_x = np.broadcast_to(x[i], (STREAMS, k, d))
        one = Event(pmf, action, reward, model.predict(predictor, all_x))
        for name, p in probability.items():
            taken = np.array([sample.is_taken(f"{stream}-{i}", p[i]) for stream in range(STREAMS)])
            sampled = replace(one, counts=taken / p[i])
            found[name] = estimates.add(found[name], sampled, other)
            ahead[name] = sequence.add(ahead[name], sampled, other, minus=pmf)
            if name == "by load":
                plain = estimates.add(plain, replace(one, counts=taken.astype(float)), other)
        if i % 4 == 0:
            predictor = model.learn(predictor, x[i, action], reward)
    return Lives(
        truth=float((target * mean).sum(axis=-1).mean()),
        found=found,
        plain=plain,
        ahead=ahead,
        difference=float(((target - logging) * mean).sum(axis=-1).mean()),
    )


def covered(one: estimates.Estimate, truth: float) -> float:
    return float(((one.low <= truth) & (truth <= one.high)).mean())


@pytest.mark.parametrize("how", ["all", "tenth", "by load"])
def test_estimates_of_a_sample_hold_the_truth_as_often_as_those_of_all_decisions(lives: Lives, how: str) -> None:
    for method in (estimates.dr, estimates.snips, estimates.ips):
        assert 0.93 - reach(0.93) <= covered(method(lives.found[how]), lives.truth) <= 1.0, method.__name__


def test_what_goes_with_load_and_is_not_divided_by_would_have_failed_that(lives: Lives) -> None:
    assert covered(estimates.dr(lives.plain), lives.truth) < 0.5


def test_a_tenth_of_the_decisions_is_worth_a_tenth(lives: Lives) -> None:
    widths = {name: float((estimates.dr(one).high - estimates.dr(one).low).mean()) for name, one in lives.found.items()}
    assert 2.5 < widths["tenth"] / widths["all"] < 4.0
    assert widths["all"] < widths["by load"] < widths["tenth"]
    assert np.allclose(lives.found["tenth"].a.mean(), lives.found["all"].n, rtol=0.02)


@pytest.mark.parametrize("how", ["all", "tenth", "by load"])
def test_what_the_gate_watches_holds_the_truth_in_a_sample_too(lives: Lives, how: str) -> None:
    low, high = sequence.interval(lives.ahead[how], alpha=0.05)
    assert ((low > lives.difference) | (lives.difference > high)).mean() <= 0.05 + reach(0.05)
    assert (low > -REWARDS.width).all()


def test_with_all_taken_every_number_is_as_without_a_sample_to_the_bit() -> None:
    chance = np.random.default_rng(3)
    own, sums, n = estimates.empty(), [np.zeros(())] * 7, 500
    for _ in range(n):
        logging, pmf = softmax(chance.standard_normal(5)), softmax(chance.standard_normal(5))
        one = Event(logging, np.array(chance.integers(5)), np.array(chance.random()), chance.random(5), 1 / 1.0)
        own = estimates.add(own, one, pmf)
        w, r = at(weights(one, pmf), one.action), one.reward
        s = w * (r - at(one.q_hat, one.action)) + (pmf * one.q_hat).sum(axis=-1)
        new = (w, w * w, w * r, w * w * r, w * w * r * r, s, s * s)
        sums = [old + more for old, more in zip(sums, new, strict=True)]
    w, w2, wr, w2r, w2r2, s, s2 = sums
    for found, total, squares in ((estimates.dr(own), s, s2), (estimates.ips(own), wr, w2r2)):
        half = estimates.Z_95 * np.sqrt(np.maximum(squares - n * (total / n) * (total / n), 0.0) / (n - 1) / n)
        assert (found.value, found.low, found.high) == (total / n, total / n - half, total / n + half)
    ratio = wr / w
    half = estimates.Z_95 * np.sqrt(w2r2 - 2 * ratio * w2r + ratio * ratio * w2) / w
    assert (estimates.snips(own).value, estimates.snips(own).low) == (ratio, ratio - half)
    assert estimates.mean_weight(own) == w / n
    assert estimates.weight_z(own) == (w / n - 1.0) / np.sqrt((w2 / n - w / n * (w / n)) / n)


def watching(share: float) -> gate.Gate:
    return gate.joined(gate.opened("a", rule=gate.Rule(gate.Range(0.0, 1.0), places=1, share=share)), "b")


def test_the_gates_range_grows_with_the_inverse_of_the_share() -> None:
    event = Event(np.array([0.5, 0.5]), np.array(0), np.array(1.0), np.zeros(2))
    pmfs = {"a": np.array([0.5, 0.5]), "b": np.array([0.9, 0.1])}
    needed = {}
    for share in (1.0, 0.5, TENTH):
        one, needed[share], verdict = watching(share), 0, gate.Kind.HOLD
        while verdict is gate.Kind.HOLD:
            needed[share] += 1
            one = gate.passed(one, round(1 / share) - 1)
            one, said = gate.watch(one, replace(event, counts=1 / share), pmfs)
            verdict = said.kind
        assert verdict is gate.Kind.PROMOTE
    # The same number of taken events, that is ten times as many decisions.
    assert needed[1.0] <= needed[0.5] <= needed[TENTH] <= 1.2 * needed[1.0]


def test_an_event_that_was_taken_with_less_than_the_gates_share_is_refused() -> None:
    event = Event(np.array([0.5, 0.5]), np.array(0), np.array(1.0), np.zeros(2), 1 / TENTH)
    with pytest.raises(ValueError, match=r"below 0\.5: `renewed` begins an era"):
        gate.noted(watching(0.5), event, {name: np.array([0.5, 0.5]) for name in "ab"})


def test_a_smaller_sample_is_part_of_every_greater_one() -> None:
    ids = [f"decision-{n}" for n in range(5000)]
    taken = {p: {one for one in ids if sample.is_taken(one, p)} for p in (TENTH, 0.5, 1.0)}
    assert taken[TENTH] < taken[0.5] < taken[1.0] == set(ids)
    assert abs(len(taken[TENTH]) - 500) < 3.1 * sqrt(5000 * 0.1 * 0.9)

"""What one stream's events add, compiled, is what the formulas over many streams give, to the bit; and so is what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agents.evaluation import estimates, propensities, sequence, single, switched, wealth
from agents.evaluation.event import Event, Floats, Range, check
from tests.agents.evaluation.planted import pmfs

REWARDS = Range(-0.3, 0.95)


@st.composite
def events(draw: st.DrawFn) -> tuple[Event, list[Floats]]:
    """An event of up to 24 candidates, and three policies; the second may not draw all that could be."""
    k = draw(st.integers(1, 24))
    logging, base, one, other = (draw(pmfs(k)) for _ in range(4))
    if draw(st.booleans()):
        one = np.where(np.arange(k) == draw(st.integers(0, k - 1)), 1.0, 0.0)
    event = Event(
        logging,
        np.array(draw(st.integers(0, k - 1))),
        np.array(draw(st.floats(REWARDS.low, REWARDS.high))),
        np.array(draw(st.lists(st.floats(-3, 3), min_size=k, max_size=k))),
        draw(st.sampled_from([1.0, 1 / 0.7, 10.0])),
    )
    return event, [base, one, other]


@settings(max_examples=300)
@given(events())
def test_terms_and_bets_are_those_of_the_formulas_to_the_bit(given_: tuple[Event, list[Floats]]) -> None:
    event, those = given_
    told = event.logging, event.q_hat, np.array(those), int(event.action), float(event.reward), float(event.counts)
    for pmf, found in zip(those, single.terms(*told), strict=True):
        assert found.tobytes() == estimates.terms(event, pmf).tobytes()
    undrawn = np.where(np.arange(len(event.logging)) == event.action - 1, 0.0, event.logging)
    for logging in (event.logging, undrawn):
        wholes = single.switched(logging, *told[1:], switched.CUTS)
        for pmf, found in zip(those, wholes, strict=True):
            assert found.tobytes() == switched.terms(replace(event, logging=logging), pmf).tobytes()
    about = sequence.empty("difference", rewards=REWARDS, share=0.1)
    floors = sequence.both_floors(about)
    units = np.array([sequence.unit(floor, about) for floor in floors])
    bets = single.bets(*told, REWARDS.low, REWARDS.width, np.array(floors), units, about.share)
    for pmf, y in zip(those[1:], bets, strict=True):
        growth = wealth.grown(y)
        plain = sequence.add(about, event, pmf, minus=those[0])
        assert same(plain, sequence.plus(about, y[: single.MANY], growth[: single.MANY]))
        watched = propensities.add(propensities.empty(), event, pmf)
        both = y[single.MANY :].reshape(2, 2), growth[single.MANY :].reshape(2, 2, -1)
        assert same(watched, propensities.plus(propensities.empty(), *both))


def same(one: object, other: object) -> bool:
    """Arrays are written to the bit."""
    with np.printoptions(floatmode="unique"):
        return repr(one) == repr(other)


@settings(max_examples=300)
@given(events(), st.sampled_from(["as it is", "reward", "nan", "negative", "sum", "action", "support"]))
def test_what_no_estimator_can_use_is_refused_by_both(given_: tuple[Event, list[Floats]], spoilt: str) -> None:
    event, those = given_
    logging, at = event.logging.copy(), int(event.action)
    match spoilt:
        case "reward":
            event = replace(event, reward=np.array(1.0))
        case "nan":
            those[1][at] = np.nan
        case "negative":
            those[2][at] = -0.1
        case "sum":
            logging[at] += 0.01
        case "action":
            logging[at] = 0.0
        case "support":
            logging[(at + 1) % len(logging)] = 0.0
            assume(logging.any())
            logging /= logging.sum()
    event, all_ = replace(event, logging=logging), np.array(those)
    usable = True
    try:
        check(event, all_, rewards=REWARDS)
    except ValueError:
        usable = False
    told = event.logging, event.q_hat, all_, at, float(event.reward)
    assert single.is_usable(*told, REWARDS.low, REWARDS.high) == usable


@pytest.mark.parametrize("n", [0, 5, 400])
def test_the_best_bettor_is_never_behind_the_mean_of_all(n: int) -> None:
    some = wealth.empty()
    for y in np.random.default_rng(n).exponential(size=n):
        some = wealth.add(some, np.asarray(y))
    for mean in (0.2, 1.0, 1.7):
        assert wealth.best(some, mean) >= wealth.log_wealth(some, mean)


def test_distrust_comes_at_the_same_event_as_where_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lied = Event(np.array([0.5, 0.5]), np.array(0), np.array(0.0), np.zeros(2))
    found = []
    for _ in range(2):
        some, n = propensities.empty(), 0
        while not propensities.is_off(some, alpha=0.001):
            some, n = propensities.add(some, lied, np.array([0.8, 0.2])), n + 1
        found.append(n)
        monkeypatch.setattr(propensities, "_ROUNDING", np.inf)
    assert found[0] == found[1] > 1

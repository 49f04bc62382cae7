"""A challenger takes the champion's place on proof, and gives it back on proof; nothing else moves the gate."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from agents.evaluation import gate, sequence
from agents.evaluation.event import Event, Range
from agents.evaluation.gate import Gate, Kind, Rule
from tests.agents.evaluation.planted import UNIT, stream

CHAMPION = np.array([0.7, 0.2, 0.1])
BETTER = np.array([0.1, 0.2, 0.7])
PMFS = {
    "champion": CHAMPION,
    "better": BETTER,
    "same": np.array([0.6, 0.3, 0.1]),
    "worse": np.array([0.98, 0.01, 0.01]),
}
MEAN = np.array([0.1, 0.3, 0.8])
TURNED = np.array([0.9, 0.3, 0.1])
RULE = Rule(UNIT, places=2)


def opened(*challengers: str, rule: Rule = RULE) -> Gate:
    state = gate.opened("champion", rule=rule)
    for one in challengers:
        state = gate.joined(state, one)
    return state


def until(state: Gate, events, kind: Kind) -> tuple[Gate, gate.Verdict, int]:
    """Watches until the gate says this."""
    for i, one in enumerate(events, start=1):
        state, verdict = gate.watch(state, one, PMFS)
        if verdict.kind is kind:
            return state, verdict, i
        assert verdict.kind is Kind.HOLD, verdict
    raise AssertionError(f"never {kind}: {gate.decide(state)}")


def logs(mean=MEAN, *, seed: int = 1, n: int = 800, logging=CHAMPION, **lie):
    return stream(seed, logging=logging, mean=mean, n=n, **lie)


@cache
def promoted() -> tuple[Gate, gate.Verdict, int]:
    return until(opened("better", "same"), logs(), Kind.PROMOTE)


def test_a_better_challenger_is_promoted_and_the_evidence_says_why():
    state, verdict, n = promoted()
    assert (state.champion, verdict.policy) == ("better", "better")
    found = verdict.evidence
    assert found is not None
    assert (found.n, found.era, found.champion, found.policy) == (n, 0, "champion", "better")
    assert found.log_wealth >= found.log_wealth_needed == math.log(2 / 0.05)
    assert found.difference[0] >= found.margin == 0.0
    assert found.policy_dr[1] < BETTER @ MEAN < found.policy_dr[2]
    assert found.alpha == 0.025
    assert abs(found.weight_z) < 3


def test_until_then_it_holds_and_can_say_how_far_it_is():
    state = opened("better", "worse")
    for one in logs(n=20):
        state, verdict = gate.watch(state, one, PMFS)
    assert verdict == gate.Verdict(Kind.HOLD, "better", None)
    found = gate.decide(state).evidence
    assert found is not None
    assert found.n == 20
    assert found.difference[0] < 0 < found.difference[1]
    assert found.log_wealth < found.log_wealth_needed


def test_one_that_is_worse_is_never_promoted():
    state = opened("worse")
    for one in logs():
        state, verdict = gate.watch(state, one, PMFS)
        assert verdict.kind is Kind.HOLD
    assert gate.decide(state).evidence.difference[1] < 0.1


def test_one_that_is_better_by_less_than_the_margin_waits():
    small, large = (replace(RULE, margin=margin) for margin in (0.05, 0.5))
    assert until(opened("better", rule=small), logs(), Kind.PROMOTE)[0].champion == "better"
    state = opened("better", rule=large)
    for one in logs():
        state, _ = gate.watch(state, one, PMFS)
    assert state.champion == "champion"


def test_a_promotion_begins_an_era_with_the_former_champion_watching_and_no_evidence():
    state, _, _ = promoted()
    assert state.era == 1
    assert [(one.policy, one.is_former, one.mine.n) for one in state.comparisons] == [
        ("champion", True, 0),
        ("same", False, 0),
    ]
    assert state.joined == 1


def test_when_the_world_turns_the_former_champion_comes_back():
    state, _, _ = promoted()
    back, verdict, n = until(state, logs(TURNED, seed=2, logging=BETTER), Kind.ROLL_BACK)
    assert (back.champion, verdict.policy, back.era) == ("champion", "champion", 2)
    assert [one.policy for one in back.comparisons] == ["same"]
    found = verdict.evidence
    assert found is not None
    assert (found.n, found.champion, found.alpha) == (n, "better", RULE.alpha_back)
    assert found.difference[0] >= RULE.margin


def test_a_promotion_that_was_right_stands():
    state, _, _ = promoted()
    for one in logs(seed=3, logging=BETTER, n=500):
        state, verdict = gate.watch(state, one, PMFS)
        assert verdict.kind is Kind.HOLD
    assert state.champion == "better"


def test_what_was_rolled_back_may_join_again():
    state, _, _ = promoted()
    back, _, _ = until(state, logs(TURNED, seed=2, logging=BETTER), Kind.ROLL_BACK)
    assert {one.policy for one in gate.joined(back, "better").comparisons} == {"same", "better"}


def test_propensities_that_the_draws_refute_stop_everything_until_a_new_era():
    lie = 0.3 * CHAMPION + 0.7 / 3
    state, verdict, n = until(opened("better"), logs(logged_as=lie), Kind.DISTRUST)
    assert state.champion == "champion"
    assert verdict.evidence is not None
    assert verdict.evidence.n == n
    for one in logs(seed=9, n=20):
        state, verdict = gate.watch(state, one, PMFS)
        assert verdict.kind is Kind.DISTRUST
    mended = gate.renewed(state)
    assert (mended.era, [(one.policy, one.mine.n) for one in mended.comparisons]) == (1, [("better", 0)])
    assert until(mended, logs(seed=10), Kind.PROMOTE)[0].champion == "better"


def test_places_divide_alpha_and_leaving_frees_none():
    state = gate.left(opened("better", "same"), "same")
    with pytest.raises(ValueError, match="all 2 places of era 0 are taken"):
        gate.joined(state, "worse")
    assert gate.decide(state).evidence.alpha == RULE.alpha / 2


def test_nobody_joins_twice():
    for name in ("champion", "better"):
        with pytest.raises(ValueError, match="in the gate already"):
            gate.joined(opened("better"), name)


def test_a_later_challenger_is_judged_on_the_events_since_it_joined():
    state = opened("same")
    for one in logs(n=100):
        state, _ = gate.watch(state, one, PMFS)
    state = gate.joined(state, "better")
    for one in logs(n=30):
        state, _ = gate.watch(state, one, PMFS)
    assert {one.policy: one.mine.n for one in state.comparisons} == {"same": 130, "better": 30}


def test_an_unusable_event_is_refused_and_changes_nothing():
    state = opened("better")
    broken = Event(CHAMPION, np.array(0), np.array(7.0), np.zeros(3))
    with pytest.raises(ValueError, match="outside"):
        gate.watch(state, broken, PMFS)
    with pytest.raises(KeyError):
        gate.watch(state, next(logs()), {"champion": CHAMPION})


def test_a_gate_with_nobody_waiting_holds():
    state, verdict = gate.watch(opened(), next(logs()), PMFS)
    assert verdict == gate.decide(state) == gate.Verdict(Kind.HOLD, "champion", None)


def test_partitions_noted_apart_decide_what_one_log_would():
    events = list(logs(n=400))
    whole, parts = opened("better", "same"), [opened("better", "same") for _ in range(3)]
    for i, one in enumerate(events):
        whole = gate.noted(whole, one, PMFS)
        parts[i % 3] = gate.noted(parts[i % 3], one, PMFS)
    pooled, expected = gate.decide(gate.merged(gate.merged(parts[0], parts[1]), parts[2])), gate.decide(whole)
    assert (pooled.kind, pooled.policy) == (expected.kind, expected.policy) == (Kind.PROMOTE, "better")
    for name in ("n", "policy_dr", "champion_dr", "difference", "log_wealth", "mean_weight"):
        assert getattr(pooled.evidence, name) == pytest.approx(getattr(expected.evidence, name), rel=1e-9)
    assert {gate.changed(part, pooled).champion for part in parts} == {"better"}


def test_gates_of_different_eras_do_not_add_up():
    with pytest.raises(AssertionError, match="different eras"):
        gate.merged(opened("better"), gate.renewed(opened("better")))


def test_a_new_era_keeps_the_former_champion_watching():
    state, _, _ = promoted()
    assert [(one.policy, one.is_former) for one in gate.renewed(state).comparisons] == [
        ("champion", True),
        ("same", False),
    ]


def test_the_gate_speaks_when_the_sequence_that_simulations_run_does():
    rule = Rule(Range(0.0, 1.0), places=1)
    _, _, n = until(opened("better", rule=rule), logs(seed=4), Kind.PROMOTE)
    streams = sequence.empty("difference", rewards=rule.rewards, shape=(2,))
    for one in logs(seed=4):
        twice = Event(*(np.stack([field, field]) for field in (one.logging, one.action, one.reward, one.q_hat)))
        streams = sequence.add(streams, twice, np.stack([BETTER] * 2), minus=np.stack([CHAMPION] * 2))
        if (sequence.log_wealth_above(streams, 0.0) >= math.log(20)).all():
            break
    assert streams.below.n == n

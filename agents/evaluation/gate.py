"""Which policy is champion: challengers are compared with it on the same events, and take its place on proof.

    watch(gate, event, pmfs) -> (gate, verdict)

A challenger is promoted when the lower confidence sequence of (challenger - champion) passes the margin; the former
champion comes back, by the mirrored rule, when that of (former - champion) passes it on events after the promotion. One
may look after every event. It never promotes on propensities that the draws refute.

What is promised, with an *era* being the time from one change of champion to the next: in each era the chance of ever
promoting a challenger that is not better by the margin is at most `alpha`, and of wrongly rolling back at most
`alpha_back`; "better" means in the mean over the events since the comparison began, however tastes moved meanwhile.
Within an era `alpha` is divided by `places` (Bonferroni), and a challenger that leaves does not free its place: what it
could have spent is spent. A change of champion begins a new era: evidence against the old champion says nothing about the
new one, all of it starts at nothing, and the promise is made anew. So over m eras up to m alpha false promotions are to be
expected; a smaller `alpha` is what makes a longer life safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import log

import numpy as np

from agents.evaluation import comparison, estimates, sequence, single, wealth
from agents.evaluation.comparison import Comparison
from agents.evaluation.event import SUM_TOLERANCE, Event, Floats, Range, check


class Kind(Enum):
    """What a verdict says."""

    HOLD = "hold"
    PROMOTE = "promote"
    ROLL_BACK = "roll back"
    DISTRUST = "distrust"
    """The champion stays because the logged propensities are refuted: mend the log, then begin an era."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What it takes to change the champion."""

    rewards: Range
    margin: float = 0.0
    """In units of reward. A challenger must be better by more than this."""
    alpha: float = 0.05
    alpha_back: float = 0.05
    alpha_distrust: float = 0.001
    """Of taking right propensities for wrong ones: for each comparison, and each partition that it is noted in."""
    places: int = 4
    """Challengers of an era at most, those that left included."""
    reach: float = sequence.REACH
    share: float = 1.0
    """The least probability with which events are taken into the sample. At 1/10 the same proof takes ten times as many events."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The champion, and what may replace it."""

    rule: Rule
    champion: str
    era: int = 0
    joined: int = 0
    """Challengers of this era, those that left included."""
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict rests on, to be logged. Intervals: of the difference anytime-valid at `alpha`, others asymptotic 95 %."""

    era: int
    n: int
    policy: str
    champion: str
    policy_dr: tuple[float, float, float]
    """Value, low, high."""
    champion_dr: tuple[float, float, float]
    policy_snips: float
    champion_snips: float
    difference: tuple[float, float]
    """One-sided bounds, each at `alpha`."""
    margin: float
    alpha: float
    log_wealth: float
    log_wealth_needed: float
    effective_n: float
    mean_weight: float
    weight_z: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done, about whom, and why. With HOLD the policy is the one with the most evidence."""

    kind: Kind
    policy: str
    evidence: Evidence | None
    """None where there is nobody to compare with, and with HOLD from `watch`: ask `decide`, intervals cost a millisecond."""


def opened(champion: str, *, rule: Rule, era: int = 0, former: str | None = None) -> Gate:
    """Return a gate in which nobody waits; a former champion watches whether it should come back.

    >>> opened("a", rule=Rule(Range(0, 1))).champion
    'a'
    """
    watching = () if former is None else (_fresh(former, rule=rule, is_former=True),)
    return Gate(rule, champion, era, comparisons=watching)


def joined(gate: Gate, policy: str) -> Gate:
    """With one more challenger, whose evidence begins now. Raises ValueError where it cannot.

    >>> gate = joined(opened("a", rule=Rule(Range(0, 1), places=1)), "b")
    >>> joined(gate, "c")
    Traceback (most recent call last):
    ValueError: all 1 places of era 0 are taken: `renewed` begins a new one, with evidence at nothing
    """
    if policy == gate.champion or any(one.policy == policy for one in gate.comparisons):
        raise ValueError(f"{policy} is in the gate already")
    if gate.joined >= gate.rule.places:
        raise ValueError(
            f"all {gate.rule.places} places of era {gate.era} are taken: `renewed` begins a new one, with evidence at nothing"
        )
    fresh = _fresh(policy, rule=gate.rule)
    return replace(gate, joined=gate.joined + 1, comparisons=(*gate.comparisons, fresh))


def left(gate: Gate, policy: str) -> Gate:
    """Without that challenger, whose place stays spent until the era ends."""
    return replace(gate, comparisons=tuple(one for one in gate.comparisons if one.policy != policy))


def renewed(gate: Gate, *, share: float | None = None) -> Gate:
    """Return a new era under the same champion: the same policies watched, no evidence, and alpha to be spent again.

    `share`: of its sample, where it is another one from now on.

    >>> renewed(opened("a", rule=Rule(Range(0, 1))), share=0.1).rule.share
    0.1
    """
    if share is not None:
        gate = replace(gate, rule=replace(gate.rule, share=share))
    former = next((one.policy for one in gate.comparisons if one.is_former), None)
    challengers = [one for one in gate.comparisons if not one.is_former]
    return _era(gate, gate.champion, former=former, challengers=challengers)


def watch(gate: Gate, event: Event, pmfs: Mapping[str, Floats]) -> tuple[Gate, Verdict]:
    """Note one event, decide, and act on the verdict. For a log of one partition, or one that is read in one order.

    >>> gate = joined(opened("a", rule=Rule(Range(0, 1))), "b")
    >>> one = Event(np.array([0.5, 0.5]), np.array(0), np.array(1.0), np.zeros(2))
    >>> gate, verdict = watch(gate, one, {"a": np.array([0.5, 0.5]), "b": np.array([0.9, 0.1])})
    >>> verdict.kind.name, verdict.policy, decide(gate).evidence.n
    ('HOLD', 'b', 1)
    """
    gate = noted(gate, event, pmfs)
    if not gate.comparisons:
        return gate, Verdict(Kind.HOLD, gate.champion, None)
    kind, about = _judged(gate)
    verdict = Verdict(kind, about.policy, None if kind is Kind.HOLD else evidence(gate, about))
    return changed(gate, verdict), verdict


def noted(gate: Gate, event: Event, pmfs: Mapping[str, Floats]) -> Gate:
    """With one more event; pmfs: each policy's probabilities on its slate, by name.

    Raises ValueError where the event or a probability is unusable, KeyError where a policy has none: leaving events out
    is no way to go on, since which ones are left out may depend on their outcome.
    """
    base, rule = pmfs[gate.champion], gate.rule
    action, reward, counts = int(event.action), float(event.reward), float(event.counts)
    if counts * rule.share > 1 + SUM_TOLERANCE:
        raise ValueError(
            f"an event was taken with a probability below {rule.share:g}: `renewed` begins an era of that share"
        )
    all_ = np.array([base, *(pmfs[one.policy] for one in gate.comparisons)])
    told = event.logging, event.q_hat, all_, action, reward
    if not single.is_usable(*told, rule.rewards.low, rule.rewards.high):
        check(event, all_, rewards=rule.rewards)
    if not gate.comparisons:
        return gate
    theirs, *each = single.terms(*told, counts)
    about = gate.comparisons[0].difference
    floors = sequence.both_floors(about)
    units = np.array([sequence.unit(floor, about) for floor in floors])
    y = single.bets(*told, counts, rule.rewards.low, rule.rewards.width, np.array(floors), units, rule.share)
    added = [
        comparison.add(one, mine=mine, champions=theirs, y=bet, growth=growth, alpha_distrust=rule.alpha_distrust)
        for one, mine, bet, growth in zip(gate.comparisons, each, y, wealth.grown(y), strict=True)
    ]
    return Gate(rule, gate.champion, gate.era, gate.joined, tuple(added))


def passed(gate: Gate, times: int) -> Gate:
    """With so many more events that were not taken into the sample.

    >>> gate = joined(opened("a", rule=Rule(Range(0, 1), share=0.1)), "b")
    >>> passed(gate, 9).comparisons[0].difference.below.n
    9
    """
    return replace(gate, comparisons=tuple(comparison.passed(one, times) for one in gate.comparisons))


def merged(a: Gate, b: Gate) -> Gate:
    """Return what two partitions have noted for the same gate; to decide on, not to note further events in."""
    assert (a.rule, a.champion, a.era, a.joined) == (b.rule, b.champion, b.era, b.joined), "gates of different eras"
    pairs = zip(a.comparisons, b.comparisons, strict=True)
    return replace(
        a,
        comparisons=tuple(comparison.merged(*pair, alpha_distrust=a.rule.alpha_distrust) for pair in pairs),
    )


def decide(gate: Gate) -> Verdict:
    """Return what the evidence says now, with all of it. It changes nothing: `changed` does."""
    if not gate.comparisons:
        return Verdict(Kind.HOLD, gate.champion, None)
    kind, about = _judged(gate)
    return Verdict(kind, about.policy, evidence(gate, about))


def changed(gate: Gate, verdict: Verdict) -> Gate:
    """Return the gate after that verdict: the same, or the new champion's era.

    After a promotion the former champion watches; a policy that was rolled back must join again.
    """
    if verdict.kind not in {Kind.PROMOTE, Kind.ROLL_BACK}:
        return gate
    others = [one for one in gate.comparisons if one.policy != verdict.policy and not one.is_former]
    former = gate.champion if verdict.kind is Kind.PROMOTE else None
    return _era(gate, verdict.policy, former=former, challengers=others)


def evidence(gate: Gate, one: Comparison) -> Evidence:
    """Everything that is known of one comparison, as plain numbers."""
    alpha = _alpha(gate.rule, one)
    return Evidence(
        era=gate.era,
        n=one.mine.n,
        policy=one.policy,
        champion=gate.champion,
        policy_dr=_numbers(estimates.dr(one.mine)),
        champion_dr=_numbers(estimates.dr(one.champions)),
        policy_snips=float(estimates.snips(one.mine).value),
        champion_snips=float(estimates.snips(one.champions).value),
        difference=(
            float(sequence.lower(one.difference, alpha=alpha)),
            float(sequence.upper(one.difference, alpha=alpha)),
        ),
        margin=gate.rule.margin,
        alpha=alpha,
        log_wealth=float(sequence.log_wealth_above(one.difference, gate.rule.margin)),
        log_wealth_needed=log(1 / alpha),
        effective_n=float(estimates.effective_n(one.mine)),
        mean_weight=float(estimates.mean_weight(one.mine)),
        weight_z=float(estimates.weight_z(one.mine)),
    )


def _judged(gate: Gate) -> tuple[Kind, Comparison]:
    """Distrust goes before a roll-back, that before a promotion; of several challengers the one furthest ahead."""
    for one in gate.comparisons:
        if one.is_distrusted:
            return Kind.DISTRUST, one
    ahead = {one.policy: _ahead(gate, one) for one in gate.comparisons}
    best = max(gate.comparisons, key=lambda one: (one.is_former and ahead[one.policy] >= 0, ahead[one.policy]))
    if ahead[best.policy] < 0:
        return Kind.HOLD, best
    return Kind.ROLL_BACK if best.is_former else Kind.PROMOTE, best


def _fresh(policy: str, *, rule: Rule, is_former: bool = False) -> Comparison:
    return comparison.empty(policy, rewards=rule.rewards, reach=rule.reach, share=rule.share, is_former=is_former)


def _era(gate: Gate, champion: str, *, former: str | None, challengers: list[Comparison]) -> Gate:
    begun = opened(champion, rule=gate.rule, era=gate.era + 1, former=former)
    for one in challengers:
        begun = joined(begun, one.policy)
    return begun


def _alpha(rule: Rule, one: Comparison) -> float:
    return rule.alpha_back if one.is_former else rule.alpha / rule.places


def _ahead(gate: Gate, one: Comparison) -> float:
    """Return how much more log wealth there is than it takes; where even the best bettor has less, that one's."""
    needed = log(1 / _alpha(gate.rule, one))
    best = sequence.best_above(one.difference, gate.rule.margin) - needed
    return best if best < 0 else float(sequence.log_wealth_above(one.difference, gate.rule.margin)) - needed


def _numbers(estimate: estimates.Estimate) -> tuple[float, float, float]:
    return float(estimate.value), float(estimate.low), float(estimate.high)

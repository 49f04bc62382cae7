"""All that is known of one policy beside the champion, from the same events. It decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agents.evaluation import estimates, propensities, sequence
from agents.evaluation.estimates import Estimates
from agents.evaluation.event import Event, Floats, Range
from agents.evaluation.propensities import Balance
from agents.evaluation.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Comparison:
    """Sums over the events since it began."""

    policy: str
    is_former: bool
    """The champion before this one, which watches whether it should come back."""
    mine: Estimates
    champions: Estimates
    difference: Sequence
    balance: Balance
    is_distrusted: bool = False
    """The logged propensities were refuted at some event; nothing later takes that back."""


def empty(policy: str, *, rewards: Range, reach: float, share: float = 1.0, is_former: bool = False) -> Comparison:
    """Return what holds before any event.

    >>> empty("b", rewards=Range(0, 1), reach=3.0).mine.n
    0
    """
    difference = sequence.empty("difference", rewards=rewards, reach=reach, share=share)
    return Comparison(policy, is_former, estimates.empty(), estimates.empty(), difference, propensities.empty())


def add(
    one: Comparison, event: Event, mine: Floats, champions: Floats, *, theirs: Floats, alpha_distrust: float
) -> Comparison:
    """Take one event of a single stream in; both policies' probabilities on its slate: (K,). `theirs`: the champion's terms."""
    return _judged(
        replace(
            one,
            mine=estimates.add(one.mine, event, mine),
            champions=estimates.plus(one.champions, theirs),
            difference=sequence.add(one.difference, event, mine, minus=champions),
            balance=propensities.add(one.balance, event, mine),
        ),
        alpha_distrust=alpha_distrust,
    )


def passed(one: Comparison, times: int) -> Comparison:
    """Take in so many events that were not taken into the sample."""
    return replace(one, difference=sequence.passed(one.difference, times))


def merged(a: Comparison, b: Comparison, *, alpha_distrust: float) -> Comparison:
    """Return what holds after the events of both, which must not overlap."""
    assert (a.policy, a.is_former) == (b.policy, b.is_former), "comparisons of different policies do not add up"
    return _judged(
        Comparison(
            a.policy,
            a.is_former,
            estimates.merged(a.mine, b.mine),
            estimates.merged(a.champions, b.champions),
            sequence.merged(a.difference, b.difference),
            propensities.merged(a.balance, b.balance),
            a.is_distrusted or b.is_distrusted,
        ),
        alpha_distrust=alpha_distrust,
    )


def _judged(one: Comparison, *, alpha_distrust: float) -> Comparison:
    is_off = one.is_distrusted or bool(propensities.is_off(one.balance, alpha=alpha_distrust))
    return replace(one, is_distrusted=is_off)

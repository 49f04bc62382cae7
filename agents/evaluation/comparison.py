"""All that is known of one policy beside the champion, from the same events. It decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agents.evaluation import estimates, propensities, sequence
from agents.evaluation.estimates import Estimates
from agents.evaluation.event import Floats, Range
from agents.evaluation.propensities import Balance
from agents.evaluation.sequence import Sequence
from agents.evaluation.single import MANY


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
    one: Comparison, *, mine: Floats, champions: Floats, y: Floats, growth: Floats, alpha_distrust: float
) -> Comparison:
    """Take one event of a single stream in: both policies' terms, what is bet on, (6,), and how each bettor's wealth grows by it."""
    balance = propensities.plus(one.balance, y[MANY:].reshape(2, 2), growth[MANY:].reshape(2, 2, -1))
    return Comparison(
        one.policy,
        one.is_former,
        estimates.plus(one.mine, mine),
        estimates.plus(one.champions, champions),
        sequence.plus(one.difference, y[:MANY], growth[:MANY]),
        balance,
        one.is_distrusted or bool(propensities.is_off(balance, alpha=alpha_distrust)),
    )


def passed(one: Comparison, times: int) -> Comparison:
    """Take in so many events that were not taken into the sample."""
    return replace(one, difference=sequence.passed(one.difference, times))


def merged(a: Comparison, b: Comparison, *, alpha_distrust: float) -> Comparison:
    """Return what holds after the events of both, which must not overlap."""
    assert (a.policy, a.is_former) == (b.policy, b.is_former), "comparisons of different policies do not add up"
    balance = propensities.merged(a.balance, b.balance)
    return Comparison(
        a.policy,
        a.is_former,
        estimates.merged(a.mine, b.mine),
        estimates.merged(a.champions, b.champions),
        sequence.merged(a.difference, b.difference),
        balance,
        a.is_distrusted or b.is_distrusted or bool(propensities.is_off(balance, alpha=alpha_distrust)),
    )

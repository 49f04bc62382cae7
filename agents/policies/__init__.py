"""The policies by name: one algorithm a file, one line here.

A policy says how likely each candidate is, given what a version believes and what the person has taught. What is
learned, and how it becomes the next version, is the same sums for all of them (tables.sums, tables.marginal,
agents.bandit.fitting): that is why any of them can take over from another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agents import default
from agents.bandit.belief import Belief
from agents.bandit.choice import Choice, Way
from agents.policies import epsilon_greedy, lin_ts, linucb, mixed, mixed_hearing, mixed_rff, squarecb, uniform
from tables.linear import Ints
from tables.sums import Taught


class Pmf(Protocol):
    """A pure function of values; inside `step` it may only add, subtract, multiply, divide and take square roots."""

    def __call__(
        self, belief: Belief, taught: Taught, x: Ints, /, *, silent: int | None, now_ms: int, key: int
    ) -> Choice:
        """Return a probability for each row of x, and the one drawn.

        x: (K, d) in units of 1/64; `silent` is the row that says nothing, worth 0; key: 128 bits of chance.
        """


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to choose."""

    name: str
    pmf: Pmf
    expand: Callable[[Ints], Ints] | None = None
    """Makes more features of each row, (K, d) to (K, d'); such a policy is never served."""
    hears: bool = False
    """Whether its versions are fitted with what a trained model says; the others are fitted as if nobody had said it."""
    way: Way | None = None
    """Of one whose probabilities follow from what is expected: several such are asked in one call, and say the same."""

    @property
    def servable(self) -> bool:
        """Whether `step` may decide with it."""
        return self.expand is None


DEFAULT = default.POLICY

POLICIES: Mapping[str, Policy] = {
    module.NAME: Policy(
        module.NAME,
        module.pmf,
        getattr(module, "expand", None),
        hears=getattr(module, "HEARS", False),
        way=getattr(module, "WAY", None),
    )
    for module in (mixed, mixed_hearing, lin_ts, linucb, squarecb, epsilon_greedy, uniform, mixed_rff)
}

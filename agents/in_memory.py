"""One of our policies over many people in memory: what rows, partitions and `learn` hold together in the running system.

It never reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from agents.bandit import fitting
from agents.bandit.belief import Belief, Shape, belief
from agents.bandit.choice import Choice
from agents.bandit.expected import predicted
from agents.bandit.learner import Floats, Ints
from agents.policies import POLICIES
from oo.v1 import policy_pb2
from tables import marginal, sums
from tables.marginal import Epoch
from tables.sums import Taught
from tables.totals import Total, Totals, merged

MADE_MAX = 100_000
"""Decisions that a reward may still be held against."""


@dataclass(slots=True)
class InMemory:
    """One of our policies over people in memory, refitted after each `refit_every` rewards.

    Rewards are taken in whole multiples of 1/64. People's sums and totals are those of rows and partitions, to the bit.
    """

    name: str
    shape: Shape
    """Of the features as they are given; a policy that makes more of them sees more."""
    config: policy_pb2.DecisionConfig
    refit_every: int = 100
    expand: Callable[[Ints], Ints] | None = None
    """Makes more features of each row, (K, d) to (K, d'); the policy's own where none is given."""
    versions: int = 0
    """Fitted so far."""
    belief: Belief = field(init=False)
    _version: policy_pb2.PolicyVersion = field(init=False)
    _people: dict[str, Taught] = field(default_factory=dict)
    _parts: dict[str, Total] = field(default_factory=dict)
    """What stands of each person in the totals: a few kilobytes more of each, and no marginal is computed twice."""
    _changed: set[str] = field(default_factory=set)
    """Those who taught something since the last fit."""
    _epochs: dict[int, Epoch] = field(default_factory=dict)
    _totals: Totals = field(init=False)
    _made: dict[tuple[str, int], Choice] = field(default_factory=dict)
    """The latest choices, by person and time: a reward is held against what was expected when its decision was made."""
    _rewards: int = 0
    _time_ms: int = 0

    def __post_init__(self) -> None:
        self.expand = self.expand or POLICIES[self.name].expand
        if self.expand is not None:
            more = self.expand(np.zeros((1, self.shape.d), dtype=np.int64)).shape[1] - self.shape.d
            self.shape = replace(self.shape, mean=(*self.shape.mean, *([0.0] * more)))
        self._totals = Totals(epochs=self._epochs)
        self._adopt(fitting.prior(self.name, shape=self.shape, config=self.config))

    def choose(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Choice:
        """The policy's own choice, drawn by the key."""
        if self.expand is not None:
            x = self.expand(x)
        choice = POLICIES[self.name].pmf(self.belief, self._taught(user_id), x, silent=silent, now_ms=time_ms, key=key)
        self._made[user_id, time_ms] = choice
        if len(self._made) > MADE_MAX:
            del self._made[next(iter(self._made))]
        return choice

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        """See Learner."""
        choice = self.choose(user_id, x, silent=silent, time_ms=time_ms, key=key)
        return np.array(choice.numerators) / choice.denominator

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        """See Learner; the propensity is not needed: what is learned of is what was drawn."""
        row = x[action : action + 1]
        if self.expand is not None:
            row = self.expand(row)
        if not row.any():
            return  # Saying nothing is worth 0 by decree.
        taught = self._taught(user_id)
        made = self._made.pop((user_id, time_ms), None)
        sums.add(
            taught,
            x=row[0],
            reward=round(reward * sums.UNIT),
            time_ms=time_ms,
            predicted=None if made is None or not made.shared else predicted(made, action),
            half_life_ms=self.shape.half_life_ms,
        )
        taught.epoch = self._version.epoch
        self._people[user_id] = taught
        self._changed.add(user_id)
        self._time_ms = max(self._time_ms, time_ms)
        self._rewards += 1
        if self._rewards % self.refit_every == 0:
            self.refit()

    def refit(self) -> None:
        """Makes the next version out of what everybody taught."""
        for user_id in self._changed:
            before, taught = self._parts.pop(user_id, None), self._people[user_id]
            if before is not None:
                self._totals.add(before, sign=-1)
            if taught.weight:
                self._parts[user_id] = self._totals.part(taught)
                self._totals.add(self._parts[user_id])
        self._changed.clear()
        size = marginal.size(d=self.shape.d, q=self.shape.q)
        totals = merged(self._totals.all(), size=size)
        self._adopt(
            fitting.fit(
                self.name,
                totals,
                shape=self.shape,
                before=self._version,
                config=self.config,
                now_ms=self._time_ms,
            )
        )
        self.versions += 1

    def _taught(self, user_id: str) -> Taught:
        return self._people.get(user_id) or sums.nothing(self.shape.d)

    def _adopt(self, version: policy_pb2.PolicyVersion) -> None:
        self._version, self.belief = version, belief(version)
        self._epochs[version.epoch] = self.belief.epoch

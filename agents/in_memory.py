"""One of our policies over many people in memory: what rows, partitions and `learn` hold together in the running system.

What is learned is the same for all that see the same features, whoever chose; so several policies may choose by what one holds.
It never reads a clock.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agents.bandit import fitting
from agents.bandit.belief import Belief, Shape, belief
from agents.bandit.choice import Choice
from agents.bandit.expected import Several, pmfs, predicted
from agents.bandit.learner import Floats, Ints
from agents.policies import POLICIES
from oo.v1 import policy_pb2
from tables import marginal, sums
from tables.kept import Kept
from tables.marginal import Epoch
from tables.sums import Taught
from tables.totals import Total, Totals, merged

MADE_MAX = 100_000
"""Decisions that a reward may still be held against."""
_FRONT = struct.Struct("=qqqQqqqQqq")
"""What a person taught (n, landmark, weight, epoch) and their part in the totals (is there, landmark, n, epoch), then how many numbers
each has: d and all of the part."""


@dataclass(slots=True)
class Person:
    """What one person taught, and what stands of it in the totals: so no marginal is computed twice."""

    taught: Taught
    part: Total | None = None


def packed(person: Person) -> bytes:
    """Return it as bytes, to the bit.

    >>> one = Person(sums.nothing(2))
    >>> sums.add(one.taught, x=[64, 32], reward=64, time_ms=0)
    >>> unpacked(packed(one)).taught.gram.tolist(), unpacked(packed(one)).part
    ([262144, 131072, 65536], None)
    """
    taught, part = person.taught, person.part
    front = _FRONT.pack(
        taught.n,
        taught.landmark,
        taught.weight,
        taught.epoch,
        part is not None,
        part.landmark if part else 0,
        part.n if part else 0,
        part.epoch if part else 0,
        len(taught.moment),
        len(part.contribution) if part else 0,
    )
    numbers = (taught.gram, taught.moment, taught.losses, *([part.contribution] if part else []))
    return front + b"".join(one.tobytes() for one in numbers)


def unpacked(content: bytes) -> Person:
    """Return what `packed` was given."""
    n, landmark, weight, epoch, has_part, part_landmark, part_n, part_epoch, d, size = _FRONT.unpack_from(content)
    numbers = np.frombuffer(content, dtype=np.int64, offset=_FRONT.size).copy()
    at = d * (d + 1) // 2
    gram, moment, losses = numbers[:at], numbers[at : at + d], numbers[at + d : at + d + sums.LOSSES]
    rest = numbers[at + d + sums.LOSSES :]
    assert len(rest) == size, "not what was packed"
    part = Total(part_landmark, part_epoch, rest, n=part_n, users=1) if has_part else None
    return Person(Taught(gram, moment, losses, n, landmark, weight, epoch), part)


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
    people: Kept[Person] = field(default_factory=dict)
    """Some 13 kB of each: give it a drawer where they are many."""
    _changed: set[str] = field(default_factory=set)
    """Those who taught something since the last fit."""
    _epochs: dict[int, Epoch] = field(default_factory=dict)
    _totals: Totals = field(init=False)
    _nothing: Taught = field(init=False)
    """Of whoever has taught nothing yet; never added to."""
    _made: dict[tuple[str, int], Choice] = field(default_factory=dict)
    """The latest choices, by person and time: a reward is held against what was expected when its decision was made."""
    _rewards: int = 0
    _time_ms: int = 0

    def __post_init__(self) -> None:
        self.expand = self.expand or POLICIES[self.name].expand
        if self.expand is not None:
            more = self.expand(np.zeros((1, self.shape.d), dtype=np.int64)).shape[1] - self.shape.d
            self.shape = replace(self.shape, mean=(*self.shape.mean, *([0.0] * more)))
        self._totals, self._nothing = Totals(epochs=self._epochs), sums.nothing(self.shape.d)
        self._adopt(fitting.prior(self.name, shape=self.shape, config=self.config))

    def taught(self, user_id: str) -> Taught:
        """What this person taught, to choose by."""
        person = self.people.get(user_id)
        return person.taught if person is not None else self._nothing

    def choose(
        self, taught: Taught, x: Ints, *, silent: int | None, time_ms: int, key: int, policy: str | None = None
    ) -> Choice:
        """The choice of the policy, or of another one that sees the same features, drawn by the key. Whoever asks keeps what was
        expected, for `teach`."""
        if self.expand is not None:
            x = self.expand(x)
        return POLICIES[policy or self.name].pmf(self.belief, taught, x, silent=silent, now_ms=time_ms, key=key)

    def pmfs(
        self, taught: Taught, x: Ints, ways: Floats, *, silent: int | None, time_ms: int, keys: Sequence[int]
    ) -> Several:
        """What `choose` says of policies that have these ways, asked in one call."""
        if self.expand is not None:
            x = self.expand(x)
        return pmfs(self.belief, taught, x, ways, silent=silent, now_ms=time_ms, keys=keys)

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        """See Learner."""
        choice = self.choose(self.taught(user_id), x, silent=silent, time_ms=time_ms, key=key)
        self._made[user_id, time_ms] = choice
        if len(self._made) > MADE_MAX:
            del self._made[next(iter(self._made))]
        return np.array(choice.numerators) / choice.denominator

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        """See Learner; the propensity is not needed: what is learned of is what was drawn."""
        made = self._made.pop((user_id, time_ms), None)
        expected = None
        if made is not None and made.shared:
            expected = predicted(made.shared[action], made.own[action], made.known)
        self.teach(user_id, x[action : action + 1], reward=reward, time_ms=time_ms, expected=expected)

    def teach(self, user_id: str, row: Ints, *, reward: float, time_ms: int, expected: sums.Predicted | None) -> None:
        """Take in what the one that was drawn, (1, d), came to, and what was expected of it."""
        if self.expand is not None:
            row = self.expand(row)
        if not np.count_nonzero(row):
            return  # Saying nothing is worth 0 by decree.
        person = self.people.get(user_id) or Person(sums.nothing(self.shape.d))
        taught = person.taught
        sums.add(
            taught,
            x=row[0],
            reward=round(reward * sums.UNIT),
            time_ms=time_ms,
            predicted=expected,
            half_life_ms=self.shape.half_life_ms,
        )
        taught.epoch = self._version.epoch
        self.people[user_id] = person
        self._changed.add(user_id)
        self._time_ms = max(self._time_ms, time_ms)
        self._rewards += 1
        if self._rewards % self.refit_every == 0:
            self.refit()

    def forget(self, user_id: str) -> None:
        """Drop the person: the totals are those of the others from here on, and so is the next version."""
        person = self.people.pop(user_id, None)
        if person is not None and person.part is not None:
            self._totals.add(person.part, sign=-1)
        self._changed.discard(user_id)
        for made in [made for made in self._made if made[0] == user_id]:
            del self._made[made]

    def refit(self) -> None:
        """Makes the next version out of what everybody taught."""
        # In one order, so that whom a drawer puts away does not hang on how strings are hashed.
        for user_id in sorted(self._changed):
            person = self.people.get(user_id)
            assert person is not None, "who taught something is kept"
            person.part = self._totals.renew(person.part, person.taught)
            self.people[user_id] = person
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

    def state(self) -> tuple[object, ...]:
        """Return all but the people, as plain values: what `restore` takes, on the same machine."""
        epochs = [(name, one.precision, one.mean, one.noise) for name, one in self._epochs.items()]
        version = self._version.SerializeToString(deterministic=True)
        counts = self.versions, self._rewards, self._time_ms
        return version, epochs, self._totals.to_bytes(), sorted(self._changed), counts

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go on from there, with the people of then."""
        version, epochs, totals, changed, counts = state
        for name, precision, mean, noise in epochs:
            self._epochs[name] = Epoch(precision, mean, noise)
        self._adopt(policy_pb2.PolicyVersion.FromString(version))
        self._totals = Totals.from_bytes(totals, epochs=self._epochs)
        self._changed = set(changed)
        self.versions, self._rewards, self._time_ms = counts

    def _adopt(self, version: policy_pb2.PolicyVersion) -> None:
        self._version, self.belief = version, belief(version)
        self._epochs[version.epoch] = self.belief.epoch

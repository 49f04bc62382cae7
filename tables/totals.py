"""The sum over a partition's people of what each taught; equal, to the bit, to adding every row up anew.

Rows stand at different landmarks and are of different epochs. They are added up apart, one total for each landmark and
epoch, and nothing is rounded here: whoever wants one sum halves each total once (`merged`). So one partition gives the
same as four.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from oo.v1 import policy_pb2
from tables import marginal
from tables.linear import Ints
from tables.marginal import Epoch
from tables.sums import Taught, halve

_FRONT = struct.Struct("=qQqqq")
"""Landmark, epoch, weight, people, numbers; then the numbers, as this machine has them."""


@dataclass(slots=True)
class Total:
    """Of all rows at one landmark and of one epoch."""

    landmark: int
    epoch: int
    contribution: Ints
    """The sum of tables.marginal's contributions."""
    n: int = 0
    """Σ w in units of 1/64."""
    users: int = 0


class Totals:
    """Adding and taking away is exact. People who taught nothing count 0.

    `epochs` has every epoch that a row names: all since the beginning.
    """

    def __init__(self, *, epochs: Mapping[int, Epoch]) -> None:
        self._epochs = epochs
        self._apart: dict[tuple[int, int], Total] = {}
        self._spare: Ints | None = None
        """What one person adds is written here before it is kept."""
        self.changes = 0
        """How often something was added or taken away."""

    def replace(self, before: Taught | None, after: Taught | None) -> None:
        """Take one person's former sums out and put the new ones in."""
        for one, sign in ((before, -1), (after, 1)):
            if one is not None and one.weight:
                self.add(self.part(one), sign=sign)
                self.changes += 1

    def part(self, taught: Taught) -> Total:
        """Return what one person's sums are in the totals, for whoever keeps it to take it out again."""
        contribution = marginal.contribution(taught, self._epochs[taught.epoch])
        return Total(taught.landmark, taught.epoch, contribution, n=taught.n, users=1)

    def renew(self, part: Total | None, taught: Taught) -> Total | None:
        """Put what one person's sums are now in the place of what they were in the totals, and return it to be kept instead.

        Both are None for someone who has taught nothing; the part given is written over.
        """
        place = (taught.landmark, taught.epoch)
        if part is None or not taught.weight or place != (part.landmark, part.epoch):
            if part is not None:
                self.add(part, sign=-1)
            part = self.part(taught) if taught.weight else None
            if part is not None:
                self.add(part)
            return part
        total = self._apart[place]
        if self._spare is None or len(self._spare) != len(total.contribution):
            self._spare = np.empty_like(total.contribution)
        now = marginal.contribution(taught, self._epochs[taught.epoch], into=self._spare)
        marginal.exchange(total.contribution, part.contribution, now)
        total.n += taught.n - part.n
        part.n = taught.n
        return part

    def merge(self, others: Totals) -> None:
        """Add other totals: of rows as they stood at a moment to what has changed since, or the other way round."""
        for other in others.all():
            self.add(other)
        self.changes += others.changes

    def add(self, other: Total, *, sign: int = 1) -> None:
        """Add one total, of other people; with sign -1, take out what was added."""
        total = self._at((other.landmark, other.epoch), len(other.contribution))
        if sign == 1:
            total.contribution += other.contribution
        else:
            total.contribution -= other.contribution
        total.n += sign * other.n
        total.users += sign * other.users
        self._forget(total)

    def all(self) -> list[Total]:
        """Return the totals, by landmark and epoch."""
        return [total for _, total in sorted(self._apart.items())]

    @property
    def users(self) -> int:
        """How many people taught something."""
        return sum(total.users for total in self._apart.values())

    def to_bytes(self) -> bytes:
        """For a disk, beside the rows that they are the sum of."""
        return b"".join(
            _FRONT.pack(one.landmark, one.epoch, one.n, one.users, len(one.contribution)) + one.contribution.tobytes()
            for one in self.all()
        )

    @classmethod
    def from_bytes(cls, content: bytes, *, epochs: Mapping[int, Epoch]) -> Self:
        """Return what `to_bytes` gave.

        >>> totals = Totals(epochs={})
        >>> totals.merge(Totals.from_bytes(_FRONT.pack(7, 3, 64, 1, 1) + (5).to_bytes(8, "little"), epochs={}))
        >>> totals.users, totals.all()[0].contribution.tolist()
        (1, [5])
        """
        totals, at = cls(epochs=epochs), 0
        while at < len(content):
            landmark, epoch, n, users, size = _FRONT.unpack_from(content, at)
            at += _FRONT.size
            numbers = np.frombuffer(content, dtype=np.int64, count=size, offset=at).copy()
            totals._apart[landmark, epoch] = Total(landmark, epoch, numbers, n, users)
            at += 8 * size
        return totals

    def _at(self, place: tuple[int, int], size: int) -> Total:
        if place not in self._apart:
            self._apart[place] = Total(*place, np.zeros(size, dtype=np.int64))
        return self._apart[place]

    def _forget(self, total: Total) -> None:
        # Changes alone may have nobody's weight and still be something.
        if total.users == total.n == 0 and not total.contribution.any():
            del self._apart[total.landmark, total.epoch]


def merged(totals: Iterable[Total], *, size: int) -> list[Total]:
    """All totals at the greatest landmark among them: one for each epoch, by its name.

    Neither the order of the parts nor how people are spread over partitions changes one bit: what stands at the same
    landmark is added before it is halved.
    """
    apart = Totals(epochs={})
    for one in totals:
        apart.add(one)
    found = apart.all()
    landmark = found[-1].landmark if found else 0
    whole: dict[int, Total] = {}
    for one in found:
        into = whole.setdefault(one.epoch, Total(landmark, one.epoch, np.zeros(size, dtype=np.int64)))
        numbers = halve(np.append(one.contribution, one.n), steps=landmark - one.landmark)
        into.contribution += numbers[:-1]
        into.n += int(numbers[-1])
        into.users += one.users
    return [total for _, total in sorted(whole.items())]


def messages(totals: Totals, *, feature_version: int) -> list[policy_pb2.Total]:
    """Return the totals as they are published."""
    return [
        policy_pb2.Total(
            feature_version=feature_version,
            landmark=one.landmark,
            epoch=one.epoch,
            n=one.n,
            users=one.users,
            contribution=one.contribution.tolist(),
        )
        for one in totals.all()
    ]


def read(message: policy_pb2.Total) -> Total:
    """Read a published total."""
    return Total(
        message.landmark,
        message.epoch,
        np.array(message.contribution, dtype=np.int64),
        n=message.n,
        users=message.users,
    )

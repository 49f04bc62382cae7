"""The sum over a partition's people of what each taught; equal, to the bit, to adding every row up anew.

Rows stand at different landmarks. They are added up apart, one total per landmark, and nothing is rounded here:
whoever wants one sum halves each total once (agents.learn). So one partition gives the same as four.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from oo.v1 import row_pb2
from tables.sums import Ints

_FRONT = struct.Struct("=qqq")
"""Landmark, weight, people; then the entries of the Gram matrix and the moment, as this machine has them."""


@dataclass(slots=True)
class _Total:
    """Of all rows at one landmark."""

    gram: Ints
    moment: Ints
    n: int = 0
    users: int = 0


class Totals:
    """Adding and taking away is exact. Rows of other feature versions, and of people who taught nothing, count 0."""

    def __init__(self, *, d: int, feature_version: int) -> None:
        self._d = d
        self._feature_version = feature_version
        self._by_landmark: dict[int, _Total] = {}
        self.changes = 0
        """How often something was added or taken away."""

    def add_all(self, all_sums: Iterable[row_pb2.Sums]) -> None:
        """Adds the sums of every row."""
        for one in all_sums:
            self.replace(None, one)

    def replace(self, before: row_pb2.Sums | None, after: row_pb2.Sums) -> None:
        """Takes one person's former sums out and puts the new ones in."""
        for one, sign in ((before, -1), (after, 1)):
            if one is None or not one.gram or one.feature_version != self._feature_version:
                continue
            total = self._by_landmark.get(one.landmark)
            if total is None:
                d = self._d
                total = _Total(np.zeros(d * (d + 1) // 2, dtype=np.int64), np.zeros(d, dtype=np.int64))
                self._by_landmark[one.landmark] = total
            total.gram += sign * np.array(one.gram, dtype=np.int64)
            total.moment += sign * np.array(one.moment, dtype=np.int64)
            total.n += sign * one.n
            total.users += sign
            self.changes += 1
            self._forget(one.landmark, total)

    def merge(self, others: Totals) -> None:
        """Adds other totals: of rows as they stood at a moment to what has changed since, or the other way round."""
        for landmark, other in others._by_landmark.items():
            total = self._by_landmark.setdefault(landmark, other)
            if total is not other:
                total.gram += other.gram
                total.moment += other.moment
                total.n += other.n
                total.users += other.users
                self._forget(landmark, total)
        self.changes += others.changes

    def _forget(self, landmark: int, total: _Total) -> None:
        # Changes alone may have nobody's weight and still be something.
        if total.users == total.n == 0 and not total.gram.any() and not total.moment.any():
            del self._by_landmark[landmark]

    def to_bytes(self) -> bytes:
        """For a disk, beside the rows that they are the sum of.

        >>> totals = Totals(d=1, feature_version=1)
        >>> totals.replace(None, row_pb2.Sums(feature_version=1, landmark=7, n=64, gram=[5], moment=[-3]))
        >>> Totals.from_bytes(totals.to_bytes(), d=1, feature_version=1).messages() == totals.messages()
        True
        """
        return b"".join(
            _FRONT.pack(landmark, total.n, total.users) + total.gram.tobytes() + total.moment.tobytes()
            for landmark, total in sorted(self._by_landmark.items())
        )

    @classmethod
    def from_bytes(cls, content: bytes, *, d: int, feature_version: int) -> Self:
        """What `to_bytes` gave, of the same features."""
        totals, triangle = cls(d=d, feature_version=feature_version), d * (d + 1) // 2
        size = _FRONT.size + 8 * (triangle + d)
        for at in range(0, len(content), size):
            landmark, n, users = _FRONT.unpack_from(content, at)
            numbers = np.frombuffer(content, dtype=np.int64, count=triangle + d, offset=at + _FRONT.size).copy()
            totals._by_landmark[landmark] = _Total(numbers[:triangle], numbers[triangle:], n, users)
        return totals

    @property
    def users(self) -> int:
        """How many people taught something."""
        return sum(total.users for total in self._by_landmark.values())

    def messages(self) -> list[row_pb2.Sums]:
        """The totals as they are published, by landmark."""
        return [
            row_pb2.Sums(
                feature_version=self._feature_version,
                landmark=landmark,
                n=total.n,
                gram=total.gram.tolist(),
                moment=total.moment.tolist(),
            )
            for landmark, total in sorted(self._by_landmark.items())
        ]

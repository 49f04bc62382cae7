"""The sum over a partition's people of what each taught; equal, to the bit, to adding every row up anew.

Rows stand at different landmarks. They are added up apart, one total per landmark, and nothing is rounded here:
whoever wants one sum halves each total once (agents.learn). So one partition gives the same as four.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from oo.v1 import row_pb2
from tables.sums import Ints


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
            if total.users == 0:
                del self._by_landmark[one.landmark]

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

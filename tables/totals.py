"""The sum over a partition's people of what each taught; equal, to the bit, to adding every row up anew."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from oo.v1 import row_pb2
from tables import sums


class Totals:
    """Sums at the greatest landmark among the rows. Adding and taking away is exact; rows of other versions count 0."""

    def __init__(self, *, d: int, feature_version: int) -> None:
        self._feature_version = feature_version
        self._landmark = 0
        self._gram = np.zeros(d * (d + 1) // 2, dtype=np.int64)
        self._moment = np.zeros(d, dtype=np.int64)
        self._n = 0
        self.users = 0

    def is_behind(self, row_sums: row_pb2.Sums) -> bool:
        """True where these sums stand at a later landmark: then all rows have to be added up anew."""
        return self._counts(row_sums) and row_sums.landmark > self._landmark

    def add_all(self, all_sums: Iterable[row_pb2.Sums]) -> None:
        """Adds the sums of every row, at the greatest landmark among them; only on new totals."""
        taught = [one for one in all_sums if self._counts(one)]
        self._landmark = max((one.landmark for one in taught), default=0)
        for one in taught:
            self.replace(None, one)

    def replace(self, before: row_pb2.Sums | None, after: row_pb2.Sums) -> None:
        """Takes one person's former sums out and puts the new ones in."""
        for one, sign in ((before, -1), (after, 1)):
            if one is None or not self._counts(one):
                continue
            gram, moment, n = sums.at_landmark(one, landmark=self._landmark)
            self._gram += sign * gram
            self._moment += sign * moment
            self._n += sign * n
            self.users += sign

    def message(self) -> row_pb2.Sums:
        """The totals as they are published."""
        return row_pb2.Sums(
            feature_version=self._feature_version,
            landmark=self._landmark,
            n=self._n,
            gram=self._gram.tolist(),
            moment=self._moment.tolist(),
        )

    def _counts(self, one: row_pb2.Sums) -> bool:
        return bool(one.gram) and one.feature_version == self._feature_version

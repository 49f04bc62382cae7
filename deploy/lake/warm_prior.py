"""What decisions of another system say of tips, as sums that a new stack can begin with: of those features alone that have our names.

Each decision teaches as somebody of whom nothing else is known would, so nothing is learned of how people differ. It writes no file.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from agents.bandit.belief import epoch
from agents.features import NOW, ONE, PLACE, Q
from agents.prior import prior
from connectors import dsjson
from connectors.dsjson import Decision
from oo.v1 import policy_pb2
from tables import marginal, sums

NAMES_MAX = 1_000
"""So many names are counted at the most."""


class WarmPrior:
    """Hears of decisions; `kind`: what kind of tip each action is taken for."""

    def __init__(self, *, kind: str, now_ms: int) -> None:
        self._kind, self._now_ms = PLACE[kind], now_ms
        self._before = prior(space=NOW)
        self._epoch = epoch(self._before)
        self._whole = np.zeros(marginal.size(d=NOW.d, q=Q), dtype=np.int64)
        self._landmark = self._weight = 0
        self.n = 0
        """Decisions."""
        self.carried: Counter[str] = Counter()
        """By name, in how many decisions the chosen action had a feature that is one of ours."""
        self.left: Counter[str] = Counter()
        """By name, how many others."""

    def hear(self, one: Decision, reward: float) -> None:
        """Take in what was chosen: its own numbers, and those of the context."""
        x = [0] * NOW.d
        x[self._kind] = ONE
        actions = one.features.get("_multi")
        for name, value in (*dsjson.numbers(one.features), *dsjson.numbers(actions[one.action] if actions else {})):
            place = PLACE.get(name, NOW.d)
            if place < NOW.d:
                x[place] = round(ONE * min(max(value, 0.0), 1.0))
                self.carried[name] += 1
            elif name in self.left or len(self.left) < NAMES_MAX:
                self.left[name] += 1
        taught = sums.nothing(NOW.d)
        sums.add(taught, x=x, reward=round(ONE * min(max(reward, -1.0), 1.0)), time_ms=self._now_ms)
        self._whole += marginal.contribution(taught, self._epoch)
        self._landmark, self._weight = taught.landmark, taught.n
        self.n += 1

    def sums(self, *, worth: int) -> policy_pb2.PartitionSums:
        """The sums, as if they were of so many decisions that were made now, at the most. Raises ValueError where none was heard of."""
        if not self.n:
            raise ValueError("no decision counts")
        many = min(worth, self.n)
        total = policy_pb2.Total(
            feature_version=NOW.version,
            landmark=self._landmark,
            epoch=self._before.epoch,
            n=self._weight * many,
            contribution=np.rint(self._whole * (many / self.n)).astype(np.int64).tolist(),
        )
        return policy_pb2.PartitionSums(totals=[total])

"""Features of people, as their decisions saw them, at any time and now: a protocol, and the store in memory that is the default.

A row is what one decision saw of a person, and is never asked for by a name: who is in it is a pseudonym. It reads nothing itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from agents.features import FEATURES as OF_CANDIDATES
from agents.features import PLACE
from oo.v1 import decision_pb2
from streams.units import DAY_MS
from tables.linear import Ints
from training.sets import TrainingSet

KEPT_MS: Final = 28 * DAY_MS
"""How old a row may be, inclusive, when it is asked for: as far as its features look back."""
KINDS: Final = {
    "task": decision_pb2.Decision.TASK,
    "starter": decision_pb2.Decision.STARTER,
    "generated": decision_pb2.Decision.GENERATED,
}
SHARED: Final = ("done_rate_28d", "dismiss_rate_7d", "snooze_rate_24h")
"""Of a vector, what all candidates of a kind share and no clock says."""
_MEANS: Final = {one.name: one.meaning for one in OF_CANDIDATES}


class Feature(NamedTuple):
    """One entry of a row: a whole number in units of 1/64, from 0 to 64; None where the decision had no candidate that says it."""

    name: str
    kind: str
    """Of the tips that say it."""
    of: str
    """The feature of a candidate that it is."""

    @property
    def meaning(self) -> str:
        """As a sentence's end."""
        return f"{_MEANS[self.of]}; here: {self.kind}"


FEATURES: Final = tuple(Feature(f"{kind}_{of}", kind, of) for kind in KINDS for of in SHARED)
NAMES: Final = tuple(one.name for one in FEATURES)
PLACES: Final = tuple(PLACE[name] for name in SHARED)
"""In a candidate's vector."""
NOTHING: Final = -1
"""None, where there are whole numbers alone."""


class Row(NamedTuple):
    """What a decision saw of a person."""

    person: str
    at_ms: int
    """When it was decided."""
    known_ms: int
    """When that could be known: its record's time in the log."""
    values: tuple[int | None, ...]
    """In the order of NAMES."""

    @property
    def shows_ms(self) -> int:
        """From when on it may be told."""
        return max(self.at_ms, self.known_ms)

    @property
    def rank(self) -> tuple[int, int, tuple[int, ...]]:
        """The greater stands: the later decision, then what was known later."""
        return self.at_ms, self.known_ms, tuple(NOTHING if one is None else one for one in self.values)


class FeatureStore(Protocol):
    """Rows of people; the same told in any order, or again, gives the same answers. One process tells a store."""

    def tell(self, rows: Collection[Row], *, now_ms: int) -> None:
        """Take rows. Raises ValueError for one that shows later than now."""

    def at(self, asked: Sequence[tuple[str, int]]) -> list[Row | None]:
        """Return, for each person and time (ms) in turn, the latest row that was known by then; None where none was, or it is past KEPT_MS."""

    def now(self, person: str, *, now_ms: int) -> Row | None:
        """Return the latest row; None where there is none, or it is past KEPT_MS."""

    def forget(self, people: Collection[str]) -> None:
        """Keep nothing of these."""


class Rows:
    """A FeatureStore in memory."""

    def __init__(self) -> None:
        self._steps: dict[str, list[Row]] = {}

    def tell(self, rows: Collection[Row], *, now_ms: int) -> None:
        """As FeatureStore."""
        check(rows, now_ms=now_ms)
        told = {one.person for one in rows}
        self._steps |= steps([*rows, *(row for one in told for row in self._steps.get(one, ()))])

    def at(self, asked: Sequence[tuple[str, int]]) -> list[Row | None]:
        """As FeatureStore."""
        found: list[Row | None] = []
        for person, at_ms in asked:
            mine = self._steps.get(person, [])
            place = bisect_right(mine, at_ms, key=lambda one: one.shows_ms)
            found.append(fresh(mine[place - 1] if place else None, now_ms=at_ms))
        return found

    def now(self, person: str, *, now_ms: int) -> Row | None:
        """As FeatureStore."""
        return self.at([(person, now_ms)])[0]

    def forget(self, people: Collection[str]) -> None:
        """As FeatureStore."""
        for one in people:
            self._steps.pop(one, None)


def check(rows: Iterable[Row], *, now_ms: int) -> None:
    """Raise ValueError for a row of the future, which would stand in front of all until then."""
    for one in rows:
        if one.shows_ms > now_ms:
            raise ValueError(f"a row shows {one.shows_ms - now_ms} ms from now: is this machine's clock late?")


def fresh(row: Row | None, *, now_ms: int) -> Row | None:
    """The row, where it is not past KEPT_MS.

    >>> old = Row("a", 0, 0, (None,) * len(NAMES))
    >>> fresh(old, now_ms=KEPT_MS) is old, fresh(old, now_ms=KEPT_MS + 1)
    (True, None)
    """
    return row if row is not None and now_ms - row.at_ms <= KEPT_MS else None


def steps(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """By person, the rows that ever were the latest known, in the order in which they show: one for each time. What came late, of before what was
    known by then, never is.

    >>> some = [Row("a", 1, 1, ()), Row("a", 3, 4, ()), Row("a", 2, 5, ())]
    >>> [(one.shows_ms, one.at_ms) for one in steps(some)["a"]]
    [(1, 1), (4, 3)]
    """
    found: dict[str, list[Row]] = {}
    for one in sorted(rows, key=lambda row: (row.shows_ms, row.rank)):
        mine = found.setdefault(one.person, [])
        if mine and one.rank <= mine[-1].rank:
            continue
        if mine and one.shows_ms == mine[-1].shows_ms:
            mine.pop()
        mine.append(one)
    return found


def rows_of(some: TrainingSet) -> list[Row]:
    """Return what the decisions of a training set saw. Its people are hashes of pseudonyms, in hex, and each row is known when it is decided."""
    values = values_of(starts=some.starts, kinds=some.kinds, seen=some.x[:, PLACES].astype(np.int64))
    return [
        Row(f"{person & (1 << 64) - 1:016x}", at_ms, at_ms, said)
        for person, at_ms, said in zip(some.person.tolist(), some.decided_ms.tolist(), values, strict=True)
    ]


def values_of(*, starts: Ints, kinds: Ints, seen: npt.NDArray[np.int64]) -> list[tuple[int | None, ...]]:
    """Return the values of n decisions by their N candidates. starts: (n + 1,), where those of each begin; kinds: (N,); seen: (N, len(SHARED)).

    >>> values_of(starts=np.array([0, 2]), kinds=np.array([2, 2]), seen=np.array([[1, 2, 3], [1, 2, 3]]))
    [(1, 2, 3, None, None, None, None, None, None)]
    """
    n = len(starts) - 1
    found = np.full((n, len(KINDS), len(SHARED)), NOTHING, np.int64)
    whose = np.repeat(np.arange(n), np.diff(starts))
    for place, kind in enumerate(KINDS.values()):
        is_of = kinds == kind
        found[whose[is_of], place] = seen[is_of]
    return [tuple(None if one < 0 else one for one in row) for row in found.reshape(n, -1).tolist()]

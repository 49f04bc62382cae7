"""A training set: what was decided, with the features that the decision was made with, and what came of it, as columns.

It is filled by a fold of the journal, so each vector is the one that `step` made then. It holds no person's text and no name, is never written to a
disk, and reads nothing itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from agents.features import FIRST, NOW, ONE, PLACE, SPACES, names_of
from oo.v1 import decision_pb2, outcome_pb2, policy_pb2
from tables import slates
from tables.linear import Ints

FEATURE_VERSION = NOW.version
"""That of policies that hear no model: what a model's own word becomes is no feature of it."""
NAMES = tuple(names_of(FEATURE_VERSION))
D = len(NAMES)
COLD = 5
"""Of whom fewer tips were seen before is cold."""
FIT, CALIBRATE = 0.6, 0.15
"""Shares of people whose earlier decisions a model is fitted to, and calibrated with. The others are new to it."""
EARLIER = 0.7
"""The share of rows before the time that parts earlier from later."""
Flags = npt.NDArray[np.bool_]
Floats32 = npt.NDArray[np.float32]
_SEEN = (
    *(outcome_pb2.Outcome.DONE, outcome_pb2.Outcome.SNOOZE, outcome_pb2.Outcome.DISMISS),
    *(outcome_pb2.Outcome.EXPIRED, outcome_pb2.Outcome.SEEN),
)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """n decisions in the order in which they were made, and the N candidates that they could draw."""

    partition: Ints
    """(n,), as all up to `starts`."""
    offset: Ints
    """Of the journal."""
    decided_ms: Ints
    person: Ints
    """A hash of the pseudonym: only to tell people apart."""
    seen_before: Ints
    """How many tips of theirs were seen before it, as far as the fold goes back."""
    action: Ints
    """Which of its candidates was drawn."""
    became: Ints
    """oo.v1.Outcome.Kind as far as it is known; 0 for nothing."""
    starts: Ints
    """(n + 1,): where the candidates of each begin."""
    kinds: Ints
    """(N,), as `propensities`."""
    propensities: npt.NDArray[np.float64]
    x: npt.NDArray[np.int8]
    """(N, D), in units of 1/64."""

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def drawn(self) -> Ints:
        """(n,): the place of each decision's draw among all candidates."""
        return self.starts[:-1] + self.action

    @property
    def teaches(self) -> Flags:
        """(n,): tips that were seen, whatever came of it. Who never saw a tip said nothing of it."""
        said: Flags = np.isin(self.became, _SEEN) & (self.kinds[self.drawn] != decision_pb2.Decision.NONE)
        return said

    def rewards(self, config: policy_pb2.DecisionConfig) -> npt.NDArray[np.float64]:
        """(n,): what came of each, in units of a done; of no reaction what the configuration says, learned from or not."""
        worth = {
            outcome_pb2.Outcome.DONE: config.reward_done,
            outcome_pb2.Outcome.SNOOZE: config.reward_snooze,
            outcome_pb2.Outcome.DISMISS: config.reward_dismiss,
            outcome_pb2.Outcome.EXPIRED: config.reward_expired,
            outcome_pb2.Outcome.SEEN: config.reward_expired,
        }
        return np.array([worth.get(outcome_pb2.Outcome.Kind.ValueType(kind), 0) / ONE for kind in self.became.tolist()])

    def inputs(self, at: Ints) -> Floats32:
        """(len(at), D): what a model is given of these candidates, 0 to 1: exact, since 64 is a power of two."""
        given: Floats32 = self.x[at].astype(np.float32) / np.float32(ONE)
        return given

    def fingerprint(self) -> str:
        """Of all of it, in hex: the same journal, range and people give the same."""
        made = hashlib.sha256()
        for one in fields(self):
            column: npt.NDArray[np.generic] = getattr(self, one.name)
            made.update(f"{one.name} {column.dtype} {column.shape} ".encode() + np.ascontiguousarray(column).tobytes())
        return made.hexdigest()[:32]


class Split(NamedTuple):
    """Which rows are for what, each (n,). Those of people whom a model was fitted to are no judges of it, nor is the time it was fitted to."""

    fit: Flags
    calibrate: Flags
    later: Flags
    """Behind the time that parts them, of everybody."""
    new: Flags
    """Of these the ones of people that neither fitting nor calibrating saw."""
    parted_ms: int


def split(some: TrainingSet) -> Split:
    """Part the decisions that teach by time and by person. Raises ValueError where none does."""
    rows = some.teaches
    if not rows.any():
        raise ValueError("nobody has seen a tip in this range")
    parted_ms = int(np.quantile(some.decided_ms[rows], EARLIER, method="higher"))
    drawn = (some.person.astype(np.uint64) >> np.uint64(11)).astype(np.float64) / 2**53
    later = some.decided_ms >= parted_ms
    return Split(
        fit=rows & ~later & (drawn < FIT),
        calibrate=rows & ~later & (drawn >= FIT) & (drawn < FIT + CALIBRATE),
        later=rows & later,
        new=rows & later & (drawn >= FIT + CALIBRATE),
        parted_ms=parted_ms,
    )


class Collector:
    """What the fold of one partition says, in the order of its records; of the range [start, end) alone."""

    def __init__(self, partition: int, *, start: int, end: int) -> None:
        self._partition, self._start, self._end = partition, start, end
        self._decided: list[tuple[str, str, int, int, int, slates.Eligible, int]] = []
        self._became: dict[str, int] = {}
        self._whose: dict[str, str] = {}
        self._seen: dict[str, int] = {}
        self._last_ms = 0
        self.vectors: dict[str, tuple[int, bytes]] = {}
        """Of every decision of the range, how many candidates could be drawn, and a digest of their features."""
        self.unshared = 0
        """Decisions of people from whom others may not learn."""

    def take(
        self,
        offset: int,
        time_ms: int,
        decision: decision_pb2.Decision | None,
        outcomes: Iterable[outcome_pb2.Outcome] = (),
    ) -> None:
        """Take what followed from a record."""
        if offset >= self._end:
            return
        self._last_ms = max(self._last_ms, time_ms)
        for one in outcomes:
            if one.kind == outcome_pb2.Outcome.SEEN:
                self._seen[one.user_id] = self._seen.get(one.user_id, 0) + 1
            # What follows replaces what was; that it was seen replaces nothing.
            if one.kind != outcome_pb2.Outcome.SEEN or one.decision_id not in self._became:
                self._became[one.decision_id] = one.kind
        if decision is None or offset < self._start:
            return
        slate = slates.eligible(decision)
        self.vectors[decision.decision_id] = vectors_of(slate)
        if decision.unshared or decision.feature_version not in SPACES:
            self.unshared += decision.unshared
            return
        self._decided.append(
            (
                *(decision.decision_id, decision.user_id, offset, decision.decided_ms),
                *(self._seen.get(decision.user_id, 0), slate, decision.chosen),
            )
        )

    def done(self, *, wait_ms: int, may_teach: Callable[[str], bool]) -> TrainingSet:
        """Return what can be learned from. `wait_ms`: a decision younger than that when the range ends has not shown yet what comes of it;
        `may_teach(user_id)`: by the newest word of each person."""
        settled_ms, may = self._last_ms - wait_ms, dict[str, bool]()
        kept = []
        for one in self._decided:
            allowed = may.setdefault(one[1], may_teach(one[1]))
            self.unshared += not allowed
            if allowed and one[3] <= settled_ms:
                kept.append(one)
        lengths = [len(slate.places) for *_, slate, _ in kept]
        return TrainingSet(
            partition=np.full(len(kept), self._partition, np.int64),
            offset=_ints(one[2] for one in kept),
            decided_ms=_ints(one[3] for one in kept),
            person=_ints(person(one[1]) for one in kept),
            seen_before=_ints(one[4] for one in kept),
            action=_ints(slate.places.index(chosen) for *_, slate, chosen in kept),
            became=_ints(self._became.get(one[0], 0) for one in kept),
            starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
            kinds=_ints(kind for *_, slate, _ in kept for kind in slate.kinds),
            propensities=np.array([chance for *_, slate, _ in kept for chance in slate.propensities], np.float64),
            x=np.concatenate([np.zeros((0, D), np.int8), *(_padded(slate.x) for *_, slate, _ in kept)]),
        )


def vectors_of(slate: slates.Eligible) -> tuple[int, bytes]:
    """How many candidates a slate could draw, and a digest of what was seen of them."""
    seen = np.ascontiguousarray(slate.x, dtype=np.int64)
    return len(slate.places), hashlib.blake2b(f"{seen.shape}".encode() + seen.tobytes(), digest_size=16).digest()


def joined(parts: Sequence[TrainingSet]) -> TrainingSet:
    """The decisions of all of them, in the order in which they were made."""
    offset, partition, decided_ms = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("offset", "partition", "decided_ms")
    )
    order = np.lexsort((offset, partition, decided_ms))
    lengths = np.concatenate([np.diff(part.starts) for part in parts])
    begins = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    candidates = np.concatenate([[], *(np.arange(begins[at], begins[at] + lengths[at]) for at in order)]).astype(int)
    by_candidate = ("kinds", "propensities", "x")
    made = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts])[
            candidates if one.name in by_candidate else order
        ]
        for one in fields(TrainingSet)
        if one.name != "starts"
    }
    return TrainingSet(**made, starts=np.concatenate([[0], np.cumsum(lengths[order])]).astype(np.int64))


def _padded(x: Ints) -> npt.NDArray[np.int8]:
    """Vectors of any version as the newest has them: what it adds was 0."""
    made = np.zeros((len(x), D), np.int8)
    wide = min(x.shape[1], D) if len(x) else 0
    made[:, :wide] = x[:, :wide] if wide else 0
    if wide == FIRST.d:
        made[:, PLACE["prompt"]] = 0  # It meant something else then.
    return made


def person(user_id: str) -> int:
    """What tells somebody from others in a set."""
    return int.from_bytes(
        hashlib.blake2b(user_id.encode(), digest_size=8, person=b"split").digest(), "big", signed=True
    )


def _ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), np.int64)

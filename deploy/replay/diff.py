"""How two policies differ on the same logged slates, and what each would have earned there. It reads runs' files alone, and writes nothing.

What a decision earned is counted as the shadows count it (agents/evaluation), and belongs to the choice that was logged: what another policy
would have earned is estimated from the probabilities of both.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from heapq import nlargest
from math import isfinite, sqrt
from typing import Any

import numpy as np

from agents.evaluation import counted, estimates, gate, model, single, switched
from agents.evaluation.estimates import Z_95, Estimate, Estimates
from agents.evaluation.event import Event
from agents.features import NAMES, ONE
from agents.policies import POLICIES
from agents.reward import DEFAULT
from deploy.replay.manifest import Manifest, Run, RunError
from deploy.replay.sink import read
from oo.v1 import decision_pb2, outcome_pb2
from tables.linear import Floats

EXAMPLES_MAX = 10
BINS = 20
LOGGED = "logged"
"""What stands for the policies that decided."""
TipKind = decision_pb2.Decision.TipKind
_TIPS = (decision_pb2.Decision.TASK, decision_pb2.Decision.STARTER, decision_pb2.Decision.GENERATED)


@dataclass(frozen=True, slots=True)
class Value:
    """A mean reward of a decision with its asymptotic 95 % interval; no bounds where too little counts."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Earned:
    """What a policy would have earned in the mean of these decisions."""

    policy: str
    doubly_robust: Value
    snips: Value
    ips: Value
    effective_n: float
    """Of how many decisions of its own these are worth."""
    mean_weight: float
    """About 1, or the logged probabilities are not those of the draws."""


@dataclass(frozen=True, slots=True)
class Gated:
    """What the gate says of it that decides on promotions (agents/evaluation/gate.py), of these decisions alone."""

    verdict: str
    """promote, hold, or distrust where the draws refute the logged probabilities."""
    low: float
    high: float
    """Within which what it is ahead by lies, each bound at `alpha`, whenever and however often one looks."""
    margin: float
    alpha: float


@dataclass(slots=True)
class OfKind:
    """Of decisions in which a tip of this kind was logged."""

    decisions: int = 0
    otherwise: int = 0
    snips: Mapping[str, Value] = field(default_factory=dict)
    """By policy; empty where nothing was valued."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What one of the two chose at a decision, in what both say of it."""

    policy: str
    kind: str
    probability: tuple[float, float]
    """The first's, the second's."""
    worth: tuple[float, float]
    """What each expects of it; 0 of a policy that expects nothing."""
    features: Mapping[str, float]
    """What was seen of it, by name; what was 0 is left out."""


@dataclass(frozen=True, slots=True)
class Example:
    """A decision in which they chose otherwise."""

    distance: float
    decision_id: str
    user: str
    """A pseudonym."""
    decided_ms: int
    choices: tuple[Choice, Choice]


@dataclass(frozen=True, slots=True)
class Person:
    """Of one person, by pseudonym."""

    user: str
    otherwise: int
    decisions: int


@dataclass(slots=True)
class Diff:
    """Two policies, the second held against the first."""

    first: str
    second: str
    ranges: str = ""
    """How the ranges of two runs differ, in words; empty where they are the same. Compared is what both have."""
    decisions: int = 0
    """With a word of both, on one slate."""
    without: int = 0
    """Decisions that only one of the two makes, or on another slate. They are compared with nothing, and have no value."""
    otherwise: int = 0
    distance: float = 0.0
    """The mean total variation between the two's probabilities."""
    distances: list[int] = field(default_factory=lambda: [0] * BINS)
    """How many decisions lie how far apart, in equal steps from 0 to 1."""
    by_kind: dict[str, OfKind] = field(default_factory=dict)
    people: int = 0
    people_otherwise: int = 0
    most: list[Person] = field(default_factory=list)
    """Those of whom most would have been otherwise."""
    valued: int = 0
    unshared: int = 0
    """Of people from whom nobody else may learn: they have no value here."""
    answered: int = 0
    """Of those valued, with an outcome in the range; of the others, what is known of them counts."""
    out_of_reach: int = 0
    """Of those valued, where a policy would have chosen what the log never could: its value is wrong by what that earns."""
    earned: list[Earned] = field(default_factory=list)
    """Of what was logged, then of the other policies."""
    ahead: Value = Value(0.0, None, None)
    """What the second earns more than the first, on the same decisions."""
    logged: dict[str, int] = field(default_factory=dict)
    """Decisions by the policy that made them."""
    gate: Gated | None = None
    """Of a policy against what was logged; None of two runs, and where no decision could be used, or one of them could not."""
    examples: list[Example] = field(default_factory=list)
    """The farthest apart."""


def diff(run: Run, other: Run | None = None) -> Diff:
    """Hold a run's policy against what was logged, or that of another run against it.

    Raises RunError for runs that are not done, have nothing in common, or ask no policy but those that decided.
    """
    both = [run] if other is None else [run, other]
    manifests = [one.manifest() for one in both]
    for one in both:
        one.check_done()
    if not any(one.asks for one in manifests):
        what = " and ".join(one.name for one in both)
        raise RunError(f"{what}: no other policy was asked, so there is nothing to compare: 'oo replay run --policy'")
    first, second = _names(manifests)
    spans, ranges = _spans(manifests)
    found = _Finding(Diff(first, second, ranges))
    for number, (start, end) in sorted(spans.items()):
        with closing(_Aside()) as aside:
            aside.note_outcomes(one for one in read(run, number, "outcomes") if one["offset"] < end)
            for pair in _pairs(both, number, start, end):
                found.take(pair, manifests, aside)
            for each in both:
                found.pass_over(sum(start <= one["offset"] < end for one in read(each, number, "unlogged")))
            found.end_part(aside)
    return found.done()


def _names(manifests: Sequence[Manifest]) -> tuple[str, str]:
    names = [one.asks or LOGGED for one in manifests]
    if len(names) == 1:
        return LOGGED, names[0]
    if names[0] == names[1]:
        names = [f"{name} ({one.name})" for name, one in zip(names, manifests, strict=True)]
    return names[0], names[1]


def _spans(manifests: Sequence[Manifest]) -> tuple[dict[int, tuple[int, int]], str]:
    """By partition what all of them have, and where they differ, in words."""
    one, *others = manifests
    spans = {number: (one.start[number], end) for number, end in one.end.items()}
    for other in others:
        if other.journal_id != one.journal_id:
            raise RunError(f"{one.name} and {other.name} are of different journals")
        theirs = {number: (other.start[number], end) for number, end in other.end.items()}
        common = {
            number: (max(spans[number][0], theirs[number][0]), min(spans[number][1], theirs[number][1]))
            for number in spans.keys() & theirs.keys()
        }
        common = {number: span for number, span in common.items() if span[0] < span[1]}
        if not common:
            raise RunError(f"{one.name} and {other.name} have no record in common: run one over the range of the other")
        if spans == theirs and one.users == other.users:
            return spans, ""
        mine, yours, ours = (sum(end - start for start, end in each.values()) for each in (spans, theirs, common))
        people = "" if one.users == other.users else ", and they are of different people"
        words = (
            f"the ranges differ: {one.name} has {mine} records, {other.name} {yours}; compared are the {ours} of both"
        )
        return common, words + people
    return spans, ""


def _pairs(
    both: Sequence[Run], number: int, start: int, end: int
) -> Iterator[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]]:
    """Decisions of both in the order of the journal, each beside its counterpart; of one run, beside itself."""
    first, *others = ((one for one in read(run, number, "decisions") if start <= one["offset"] < end) for run in both)
    if not others:
        yield from ((one, one) for one in first)
        return
    left, right = next(first, None), next(others[0], None)
    while left is not None or right is not None:
        ahead = (left is None) - (right is None) or _order(left, right)
        yield (left if ahead <= 0 else None), (right if ahead >= 0 else None)
        left, right = next(first, None) if ahead <= 0 else left, next(others[0], None) if ahead >= 0 else right


def _order(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> int:
    assert left is not None and right is not None
    mine, theirs = int(left["offset"]), int(right["offset"])
    return (mine > theirs) - (mine < theirs)


class _Aside:
    """Outcomes and people of a partition, on a disk that goes with the process: they do not fill memory."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE outcomes (id TEXT PRIMARY KEY, kind INT) WITHOUT ROWID")
        self._database.execute("CREATE TABLE people (id TEXT PRIMARY KEY, otherwise INT, n INT) WITHOUT ROWID")

    def note_outcomes(self, outcomes: Iterable[Mapping[str, Any]]) -> None:
        """Note what became of each decision: its first outcome but that it was seen, as the shadows count; in the order of the journal."""
        self._database.executemany(
            "INSERT INTO outcomes VALUES (?, ?) ON CONFLICT DO UPDATE SET kind = excluded.kind WHERE kind = ?",
            ((one["decision_id"], one["kind"], outcome_pb2.Outcome.SEEN) for one in outcomes),
        )

    def became(self, decision_id: str) -> outcome_pb2.Outcome.Kind.ValueType:
        """What became of it; KIND_UNSPECIFIED where nothing is known."""
        found = self._database.execute("SELECT kind FROM outcomes WHERE id = ?", [decision_id]).fetchone()
        return outcome_pb2.Outcome.KIND_UNSPECIFIED if found is None else found[0]

    def note_person(self, user: str, *, otherwise: bool) -> None:
        """Count a decision of theirs."""
        self._database.execute(
            "INSERT INTO people VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1, otherwise = otherwise + excluded.otherwise",
            [user, otherwise],
        )

    def people(self) -> tuple[int, int, list[Person]]:
        """How many there are, of how many something was otherwise, and those of whom most was."""
        n, some = self._database.execute("SELECT count(*), coalesce(sum(otherwise > 0), 0) FROM people").fetchone()
        most = "SELECT id, otherwise, n FROM people WHERE otherwise > 0 ORDER BY otherwise DESC, id LIMIT ?"
        return n, some, [Person(*one) for one in self._database.execute(most, [EXAMPLES_MAX])]

    def close(self) -> None:
        self._database.close()


@dataclass(frozen=True, slots=True)
class _Voice:
    """What a policy says of a slate; of a decision that it does not make, or on another slate, there is none."""

    action: int
    propensities: Sequence[float]
    scores: Sequence[float]
    features: bytes


def _voice(one: Mapping[str, Any], *, other: bool) -> _Voice | None:
    prefix = "other_" if other else ""
    if one[f"{prefix}action"] is None:
        return None
    return _Voice(*(one[f"{prefix}{name}"] for name in ("action", "propensities", "scores", "features")))


class _Finding:
    """A diff on its way."""

    def __init__(self, found: Diff) -> None:
        self._found = found
        # Each once: of one run the first is the log.
        self._policies = list(dict.fromkeys((LOGGED, found.first, found.second)))
        self._groups: dict[tuple[str, int], Estimates] = {}
        self._wholes = switched.empty(shape=(len(self._policies),))
        self._model = model.empty(1 + len(_TIPS))
        self._apart = self._ahead = self._ahead_squared = 0.0
        # Whoever asks may ask of each policy: the chance of being wrong about any is shared among them.
        rule = gate.Rule(counted.reward_range(DEFAULT), places=sum(one.servable for one in POLICIES.values()))
        self._opened = gate.joined(gate.opened(LOGGED, rule=rule), found.second)
        self._of_part = self._gate = self._opened
        self._is_gated = found.first == LOGGED

    def take(
        self,
        pair: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
        manifests: Sequence[Manifest],
        aside: _Aside,
    ) -> None:
        """A decision with its counterpart."""
        one, other = pair
        voices = None
        if one is not None and other is not None and one["decision_id"] == other["decision_id"]:
            asks = [bool(manifest.asks) for manifest in manifests]
            first = _voice(one, other=len(asks) > 1 and asks[0])
            second = _voice(other, other=asks[-1])
            if first is not None and second is not None and one["kinds"] == other["kinds"]:
                voices = first, second
        if one is None or voices is None:
            self._found.without += 1
            return
        self._compare(one, *voices, aside)
        if one["unshared"]:
            self._found.unshared += 1
        else:
            self._value(one, *voices, aside.became(one["decision_id"]))

    def pass_over(self, many: int) -> None:
        """Decisions that were made by another configuration alone."""
        self._found.without += many

    def _compare(self, one: Mapping[str, Any], first: _Voice, second: _Voice, aside: _Aside) -> None:
        found, differs = self._found, first.action != second.action
        apart = sum(abs(a - b) for a, b in zip(first.propensities, second.propensities, strict=True)) / 2
        found.decisions, found.otherwise, self._apart = (
            found.decisions + 1,
            found.otherwise + differs,
            self._apart + apart,
        )
        found.logged[one["policy"]] = found.logged.get(one["policy"], 0) + 1
        found.distances[min(int(apart * BINS), BINS - 1)] += 1
        of_kind = found.by_kind.setdefault(_kind(one["kind"]), OfKind())
        of_kind.decisions, of_kind.otherwise = of_kind.decisions + 1, of_kind.otherwise + differs
        aside.note_person(one["user"], otherwise=differs)
        if differs and (len(found.examples) < EXAMPLES_MAX or apart > found.examples[-1].distance):
            choices = tuple(
                Choice(
                    policy,
                    _kind(one["kinds"][voice.action]),
                    (first.propensities[voice.action], second.propensities[voice.action]),
                    (first.scores[voice.action], second.scores[voice.action]),
                    _features(voice.features),
                )
                for policy, voice in ((found.first, first), (found.second, second))
            )
            new = Example(apart, one["decision_id"], one["user"], one["decided_ms"], (choices[0], choices[1]))
            found.examples = nlargest(EXAMPLES_MAX, [*found.examples, new], key=lambda each: each.distance)

    def _value(
        self, one: Mapping[str, Any], first: _Voice, second: _Voice, outcome: outcome_pb2.Outcome.Kind.ValueType
    ) -> None:
        found, action = self._found, one["action"]
        logging, reward = np.array(one["propensities"]), counted.reward(one["kind"], outcome, config=DEFAULT)
        said = {LOGGED: one["propensities"], found.first: first.propensities, found.second: second.propensities}
        pmfs = np.array([said[policy] for policy in self._policies])
        x = _told(one["scores"], one["kinds"])
        q_hat = model.predict(self._model, x)
        terms = single.terms(logging, q_hat, pmfs, action, reward, 1.0)
        self._model = model.learn(self._model, x[action], np.array(reward))
        for policy, new in zip(self._policies, terms, strict=True):
            for group in ((policy, 0), (policy, one["kind"])):
                self._groups[group] = estimates.plus(self._groups.get(group) or estimates.empty(), new)
        event = Event(logging, np.array(action), np.array(reward), q_hat)
        self._wholes = switched.plus(self._wholes, switched.terms(event, pmfs))
        ahead = float(terms[self._policies.index(found.second), _S] - terms[self._policies.index(found.first), _S])
        self._ahead, self._ahead_squared = self._ahead + ahead, self._ahead_squared + ahead * ahead
        if self._is_gated:
            try:
                self._of_part = gate.noted(self._of_part, event, dict(zip(self._policies, pmfs, strict=True)))
            except ValueError:  # To leave it out might favour one of the two.
                self._is_gated = False
        found.valued += 1
        found.answered += outcome not in (outcome_pb2.Outcome.KIND_UNSPECIFIED, outcome_pb2.Outcome.SEEN)
        found.out_of_reach += bool(((logging <= 0) & (pmfs > 0)).any())

    def end_part(self, aside: _Aside) -> None:
        """A partition is at its end; its people are in no other."""
        n, some, most = aside.people()
        found = self._found
        found.people, found.people_otherwise = found.people + n, found.people_otherwise + some
        found.most = nlargest(EXAMPLES_MAX, [*found.most, *most], key=lambda one: one.otherwise)
        self._gate, self._of_part = gate.merged(self._gate, self._of_part), self._opened

    def done(self) -> Diff:
        """All of it."""
        found, n = self._found, self._found.valued
        found.distance = self._apart / found.decisions if found.decisions else 0.0
        for kind, of_kind in found.by_kind.items():
            of_kind.snips = {
                policy: _as_value(estimates.snips(sums))
                for policy in self._policies
                if (sums := self._groups.get((policy, TipKind.Value(kind.upper()))))
            }
        wholes = switched.estimate(self._wholes, rewards=counted.reward_range(DEFAULT))
        found.earned = [
            Earned(
                policy,
                doubly_robust=_as_value(Estimate(wholes.value[at], wholes.low[at], wholes.high[at])),
                snips=_as_value(estimates.snips(sums)),
                ips=_as_value(estimates.ips(sums)),
                effective_n=float(estimates.effective_n(sums)),
                mean_weight=float(estimates.mean_weight(sums)),
            )
            for at, policy in enumerate(self._policies)
            if (sums := self._groups.get((policy, 0)))
        ]
        if self._is_gated and n:
            verdict = gate.decide(self._gate)
            assert verdict.evidence is not None, "there is one to compare with"
            low, high = verdict.evidence.difference
            found.gate = Gated(verdict.kind.name.lower(), low, high, verdict.evidence.margin, verdict.evidence.alpha)
        if n > 1:
            mean = self._ahead / n
            half = Z_95 * sqrt(max(self._ahead_squared - n * mean * mean, 0.0) / (n - 1) / n)
            found.ahead = Value(mean, mean - half, mean + half)
        return found


_S = 6
"""Where in an event's terms its doubly robust score stands (agents.evaluation.estimates)."""


def _told(scores: Sequence[float], kinds: Sequence[int]) -> Floats:
    """What a reward is predicted from, known before the decision: (K, 4). Saying nothing is all zeros, and so worth 0."""
    x = np.zeros((len(kinds), 1 + len(_TIPS)))
    for at, (score, kind) in enumerate(zip(scores, kinds, strict=True)):
        if kind in _TIPS:
            x[at, 0], x[at, 1 + _TIPS.index(kind)] = score, 1.0
    return x


def _features(packed: bytes) -> dict[str, float]:
    values = np.frombuffer(packed, dtype=np.int8).tolist()
    return {name: value / ONE for name, value in zip(NAMES, values, strict=False) if value}


def _kind(kind: int) -> str:
    return TipKind.Name(TipKind.ValueType(kind)).lower()


def _as_value(found: Estimate) -> Value:
    low, high = float(found.low), float(found.high)
    return Value(float(found.value), low if isfinite(low) else None, high if isfinite(high) else None)

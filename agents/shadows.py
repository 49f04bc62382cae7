"""Policies that decide on every live slate and are never served: what they would have done, and what it would have earned.

A pure fold over decisions and outcomes: no clock, no I/O. A decision counts once its reward is known: at a reaction, when it
expired, or, unseen, an hour after another one took its place. Every decision that is taken (agents/sample.py) counts, those to say
nothing too, so that what is counted does not depend on how it ended. The gate hears of them in the order in which they were made,
each once those before it are known: else it would hear of quick reactions first. What an outcome corrects later is learned from and
not counted again. With another probability of being taken a new era begins.
"""

from __future__ import annotations

import heapq
import marshal
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agents import sample
from agents.bandit.choice import Choice
from agents.bandit.expected import Several, predicted, spelled
from agents.bandit.learner import Learner
from agents.drift import Drifts
from agents.evaluation import counted, estimates, model, single, switched
from agents.evaluation.estimates import Estimate, Estimates
from agents.evaluation.event import Event
from agents.evaluation.gate import (
    Evidence,
    Gate,
    Kind,
    Rule,
    Verdict,
    changed,
    evidence,
    joined,
    noted,
    opened,
    passed,
    renewed,
    watch,
)
from agents.evaluation.model import RewardModel
from agents.evaluation.switched import Switched
from agents.features import SCORED, SPACES
from agents.in_memory import InMemory
from agents.policies import POLICIES
from agents.reward import DEFAULT
from oo.v1 import decision_pb2, evaluation_pb2, journal_pb2, outcome_pb2
from streams.units import HOUR_MS
from tables import ids, slates, sums
from tables.kept import Kept
from tables.linear import Floats, Ints

OPEN_MAX = 100_000
"""Decisions whose reward is waited for, or may still be corrected; past it the oldest are left out."""
EARLY_MAX = 2_000
"""Outcomes whose decision has not come yet, or never will."""
OPEN_NEAR_MAX = 2_000
PEOPLE_NEAR_MAX = 512
"""Of each learner; in memory, where there is a drawer for the rest."""
X_MAX = sums.UNIT
"""Features lie within it on both sides."""
REWARDS = counted.reward_range(DEFAULT)
ERA_MAX = 20_000
"""Counted decisions after which evidence begins anew: what was long ago must not outvote what is."""

_FINAL = frozenset(
    [
        outcome_pb2.Outcome.DONE,
        outcome_pb2.Outcome.SNOOZE,
        outcome_pb2.Outcome.DISMISS,
        outcome_pb2.Outcome.EXPIRED,
        outcome_pb2.Outcome.DONE_ELSEWHERE,
    ]
)


class NotOurs(ValueError):
    """A stranger's message on the topic of decisions: it cannot be decided on again."""


Group = tuple[str, int, str]
"""Policy, kind of tip, prompt version; kind 0 and no prompt for all together."""


@dataclass(slots=True)
class Open:
    """A decision whose reward is not known yet, or may still be corrected."""

    user_id: str
    decided_ms: int
    kind: int
    prompt_version: str
    x: npt.NDArray[np.int8]
    """Of the eligible candidates: (K, d), of all features."""
    logging: Floats
    action: int
    predicted: float
    """What the served policy expected of the one chosen."""
    pmfs: dict[str, Floats]
    """Each policy's, until the gate has heard of it."""
    expected: dict[str, sums.Predicted]
    """What each shadow that has versions expected of the one chosen."""
    share: float
    """With which probability it was taken."""
    seen: bool = False
    heard: tuple[str, ...] = ()
    """Ids of outcomes, so that each counts once."""
    reward: float | None = None
    """What it counted."""
    q_hat: Floats | None = None
    """What was predicted then, until the gate has heard of it."""

    @property
    def event(self) -> Event:
        """What it counted, as estimators read it."""
        assert self.reward is not None and self.q_hat is not None, (
            "its reward is not known, or the gate has heard of it"
        )
        return Event(self.logging, np.array(self.action), np.array(self.reward), self.q_hat, 1 / self.share)


def packed(one: Open) -> bytes:
    """Return it as bytes, to the bit, for this build of Python."""
    return marshal.dumps(
        (
            *(one.user_id, one.decided_ms, one.kind, one.prompt_version, one.action, one.predicted, one.share),
            *(one.seen, one.heard, one.reward, one.x.tobytes(), one.logging.tobytes()),
            None if one.q_hat is None else one.q_hat.tobytes(),
            [(name, pmf.tobytes()) for name, pmf in one.pmfs.items()],
            [(name, known.shared, known.own, known.known) for name, known in one.expected.items()],
        )
    )


def unpacked(content: bytes) -> Open:
    """Return what `packed` was given."""
    user, decided_ms, kind, prompt, action, predicted, share, seen, heard, reward, x, logging, q_hat, pmfs, expected = (
        marshal.loads(content)  # noqa: S302 - its own, from a file that is checked
    )
    return Open(
        user_id=user,
        decided_ms=decided_ms,
        kind=kind,
        prompt_version=prompt,
        x=np.frombuffer(x, dtype=np.int8).reshape(-1, SCORED.d),
        logging=np.frombuffer(logging).copy(),  # Compiled loops take none that may not be written.
        action=action,
        predicted=predicted,
        pmfs={name: np.frombuffer(pmf) for name, pmf in pmfs},
        expected={name: sums.Predicted(*known) for name, *known in expected},
        share=share,
        seen=seen,
        heard=heard,
        reward=reward,
        q_hat=None if q_hat is None else np.frombuffer(q_hat).copy(),
    )


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the reward of a decision is waited for; event time."""

    unseen_ms: int = HOUR_MS
    """How long after another decision took its place one may still be seen and count."""
    stale_ms: int = 24 * HOUR_MS
    """How long the gate waits for one decision; then it counts as what is known of it."""


@dataclass(slots=True)
class Shadows:
    """All policies over all decisions. `clock` measures what a decision costs, and changes nothing."""

    learners: Mapping[str, Learner]
    """By the name that all is said of them under."""
    gate: Gate
    clock: Callable[[], float]
    """Seconds."""
    waits: Waits = Waits()
    automatic: bool = True
    """Whether the gate acts on what is proven; else it only goes on noting."""
    groups: dict[Group, Estimates] = field(default_factory=dict)
    wholes: dict[str, Switched] = field(default_factory=dict)
    """By policy, over all its tips."""
    drifts: Drifts = field(default_factory=Drifts)
    costs: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By policy, the decisions since its process began, and the seconds that they took; those that are asked in one call share its."""
    _model: RewardModel = field(default_factory=lambda: model.empty(SCORED.d))
    open: Kept[Open] = field(default_factory=dict)
    """By decision id; give it a drawer where they are many."""
    _held: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Of these the person, oldest first: so nothing is looked up that is not there. Empty for those who left."""
    _left: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """Who left which journal, and where."""
    _due: list[tuple[int, str]] = field(default_factory=list)
    """Heap of (when, decision id): what is unseen then counts as it is."""
    _order: deque[tuple[int, str]] = field(default_factory=deque)
    """Decisions that the gate has not heard of, oldest first, each with how many were not taken between it and the one before."""
    _passed: int = 0
    """Decisions since the last one of these that were not taken."""
    _early: dict[str, list[outcome_pb2.Outcome]] = field(default_factory=dict)
    _now_ms: int = 0
    _kept_out: set[str] = field(default_factory=set)
    """People who have been dropped and have granted nothing since: so that they are looked for once. Not in a snapshot."""
    _holders: list[InMemory] = field(init=False)
    """Those that hold people, once each: several policies may choose by one of them."""
    _together: dict[str, tuple[list[str], Floats]] = field(default_factory=dict, init=False)
    """By policy, those that are asked in one call with it, and how they choose."""

    def __post_init__(self) -> None:
        self._holders = holders(self.learners)
        for holder in self._holders:
            names = [name for name, one in self.learners.items() if one is holder and POLICIES[name].way is not None]
            ways = spelled([way for name in names if (way := POLICIES[name].way) is not None])
            self._together.update((name, (names, ways)) for name in names)

    def decide(self, decision: decision_pb2.Decision) -> list[evaluation_pb2.Said]:
        """What each shadow would have done; of a decision made with features that are none of SPACES, not taken, or not for others to learn from, nothing is said.

        Raises NotOurs, and is as before then.
        """
        decision_id, user_id, now_ms = decision.decision_id, decision.user_id, decision.decided_ms
        record_id = decision.record_id
        if self._is_of_before(user_id, decision.journal):
            self._passed += 1
            return []
        if decision.unshared:
            self._keep_out(user_id)
            self._passed += 1
            return []
        self._kept_out.discard(user_id)
        share = sample.probability(decision.policy_version)
        is_taken = sample.is_taken(decision_id, share)
        slate = slate_of(decision) if is_taken else None
        if decision.feature_version not in SPACES:
            return []
        self._now_ms = max(self._now_ms, now_ms)
        if decision.supersedes in self._held:
            heapq.heappush(self._due, (now_ms + self.waits.unseen_ms, decision.supersedes))
            if len(self._due) > OPEN_MAX:
                heapq.heappop(self._due)
        if slate is None:
            self._passed += 1
            return []
        if decision_id in self._held:
            return []
        x, silent = slate.x, slate.kinds.index(decision_pb2.Decision.NONE)
        action = slate.places.index(decision.chosen)
        told, expected, costs_s = self._ask(
            user_id, x, silent=silent, action=action, now_ms=now_ms, record_id=record_id
        )
        said = []
        for name, learner in self.learners.items():
            many, before_s = self.costs.get(name, (0, 0.0))
            self.costs[name] = many + 1, before_s + costs_s[name]
            said.append(
                evaluation_pb2.Said(
                    policy=name,
                    version=learner.versions if isinstance(learner, InMemory) else 0,
                    propensities=told[name],
                    cost_us=round(costs_s[name] * 1e6),
                )
            )
        # The one that is served is known exactly.
        told[decision.policy] = slate.propensities
        pmfs = dict(zip(told, np.array(list(told.values())), strict=True))
        self.open[decision_id] = Open(
            user_id=user_id,
            decided_ms=now_ms,
            kind=slate.kinds[action],
            prompt_version=decision.prompt_version,
            x=x.astype(np.int8),
            logging=pmfs[decision.policy],
            action=action,
            predicted=slate.scores[action],
            pmfs=pmfs,
            expected=expected,
            share=share,
        )
        self._held[decision_id] = user_id
        self._order.append((self._passed, decision_id))
        self._passed = 0
        while len(self._held) > OPEN_MAX:
            self.open.pop(self._held.popitem(last=False)[0], None)
        return said

    def _ask(
        self, user_id: str, x: Ints, *, silent: int, action: int, now_ms: int, record_id: bytes
    ) -> tuple[dict[str, list[float]], dict[str, sums.Predicted], dict[str, float]]:
        """How likely each candidate is to each policy, what those that have versions expect of the one drawn, and the seconds that it took."""
        taught = {one.name: one.taught(user_id) for one in self._holders}
        told: dict[str, list[float]] = {name: [] for name in self.learners}
        expected: dict[str, sums.Predicted] = {}
        costs_s: dict[str, float] = {}
        for name, learner in self.learners.items():
            if told[name]:
                continue
            began_s = self.clock()
            names, ways = self._together.get(name, ([name], None))
            keys = [ids.draw_key(one, record_id=record_id) for one in names]
            if isinstance(learner, InMemory):
                found: Several | Choice
                if ways is not None:
                    found = learner.pmfs(taught[learner.name], x, ways, silent=silent, time_ms=now_ms, keys=keys)
                    told.update(zip(names, found.pmfs, strict=True))
                else:
                    found = learner.choose(
                        taught[learner.name], x, silent=silent, time_ms=now_ms, key=keys[0], policy=name
                    )
                    whole = float(found.denominator)
                    told[name] = [float(one) / whole for one in found.numerators]
                if found.shared and learner.name not in expected:
                    expected[learner.name] = predicted(found.shared[action], found.own[action], found.known)
            else:
                told[name] = learner.pmf(user_id, x, silent=silent, time_ms=now_ms, key=keys[0]).tolist()
            costs_s.update(dict.fromkeys(names, (self.clock() - began_s) / len(names)))
        return told, expected, costs_s

    def resolve(self, outcome: outcome_pb2.Outcome) -> None:
        """Takes in what became of a decision."""
        if self._is_of_before(outcome.user_id, outcome.journal):
            return
        if outcome.unshared:
            self._keep_out(outcome.user_id)
            return
        one = self.open.get(outcome.decision_id) if outcome.decision_id in self._held else None
        if one is None:
            self._early.setdefault(outcome.decision_id, []).append(outcome)
            while len(self._early) > EARLY_MAX:
                del self._early[next(iter(self._early))]
            return
        if outcome.outcome_id in one.heard:
            return
        one.heard = (*one.heard, outcome.outcome_id) if outcome.outcome_id else one.heard
        if outcome.kind == outcome_pb2.Outcome.SEEN:
            one.seen = True
        elif (outcome.learned and not outcome.corrects) or outcome.corrects == outcome_pb2.Outcome.EXPIRED:
            self._teach(one, outcome.reward)
        if outcome.kind in _FINAL and one.reward is None:
            self._count(one, outcome.kind)
        self.open[outcome.decision_id] = one

    def pass_over(self) -> None:
        """A decision of a life that ended, whose key is gone: as if it had not been taken."""
        self._passed += 1

    def forget(self, user_id: str, journal: journal_pb2.Position) -> None:
        """Drop somebody who left; what was counted of them stays, as sums without people. What waits counts as what is known of it
        now: else whoever leaves displeased would vanish from the estimates."""
        known = self._left.get(user_id)
        if known is not None and known[0] == journal.topic_id and known[1] >= journal.offset:
            return
        self._left[user_id] = journal.topic_id, journal.offset
        self._drop(user_id)

    def _keep_out(self, user_id: str) -> None:
        """Drop somebody who has withdrawn that others learn from them, as if they left; nothing is taken until they grant it again."""
        if user_id not in self._kept_out:
            self._drop(user_id)
            if len(self._kept_out) >= OPEN_MAX:
                self._kept_out.clear()
            self._kept_out.add(user_id)

    def _drop(self, user_id: str) -> None:
        for decision_id in [held for held, whose in self._held.items() if whose == user_id]:
            one = self.open.get(decision_id)
            if one is not None:
                if one.reward is None:
                    self._count(one, outcome_pb2.Outcome.SEEN if one.seen else outcome_pb2.Outcome.KIND_UNSPECIFIED)
                one.user_id, one.x, one.expected = "", one.x[:0], {}
                self.open[decision_id] = one
            self._held[decision_id] = ""
        for decision_id, found in list(self._early.items()):
            if any(one.user_id == user_id for one in found):
                del self._early[decision_id]
        for holder in self._holders:
            holder.forget(user_id)

    def early(self, decision_id: str) -> list[outcome_pb2.Outcome]:
        """Outcomes that came before their decision, which is another topic's: they are to be settled now."""
        return self._early.pop(decision_id, [])

    def pass_time(self, now_ms: int) -> None:
        """Counts what nobody has seen for long enough; event time, so that a replay counts the same."""
        self._now_ms = max(self._now_ms, now_ms)
        while self._due and self._due[0][0] <= self._now_ms:
            _, decision_id = heapq.heappop(self._due)
            one = self.open.get(decision_id)
            if one is not None and not one.seen and one.reward is None:
                self._count(one, outcome_pb2.Outcome.KIND_UNSPECIFIED)
                self.open[decision_id] = one

    def verdicts(self) -> Iterator[Verdict]:
        """Tells the gate of the decisions whose turn it is, and what it says but to go on as before."""
        while self._order:
            untaken, decision_id = self._order[0]
            one = self.open.get(decision_id)
            if one is not None and one.reward is None:
                if self._now_ms - one.decided_ms < self.waits.stale_ms:
                    return
                self._count(one, outcome_pb2.Outcome.SEEN if one.seen else outcome_pb2.Outcome.KIND_UNSPECIFIED)
            self._order.popleft()
            if untaken:
                self.gate = passed(self.gate, untaken)
            if one is None:
                continue
            verdict = self._watch(one)
            one.pmfs, one.q_hat = {}, None
            self.open[decision_id] = one
            if verdict is not None:
                yield verdict

    def champion_is(self, policy: str, *, rolled_back: bool = False) -> None:
        """A policy decides from now on, whoever says so: a new era begins, in which all others wait.

        The one before watches whether it should come back, unless it was rolled back, or decided nothing that counts.
        """
        before = self.gate
        if policy == before.champion:
            return
        if rolled_back and any(one.policy == policy and one.is_former for one in before.comparisons):
            self.gate = changed(before, Verdict(Kind.ROLL_BACK, policy, None))
            return
        served = not rolled_back and any(one.mine.n for one in before.comparisons)
        self.gate = with_challengers(
            policy,
            self.learners,
            rule=before.rule,
            era=before.era + 1,
            former=before.champion if served else None,
        )

    def estimates(self, *, now_ms: int) -> Iterator[evaluation_pb2.Estimate]:
        """What is known of each policy, of all tips together and of each kind and prompt."""
        compared = {one.policy: evidence(self.gate, one) for one in self.gate.comparisons}
        for (policy, kind, prompt_version), one in sorted(self.groups.items()):
            found = evaluation_pb2.Estimate(
                policy=policy,
                kind=decision_pb2.Decision.TipKind.ValueType(kind),
                prompt_version=prompt_version,
                n=one.n,
                effective_n=float(estimates.effective_n(one)),
                mean_weight=float(estimates.mean_weight(one)),
                stands_for=float(one.a),
                ips=_as_interval(estimates.ips(one)),
                snips=_as_interval(estimates.snips(one)),
                champion=self.gate.champion,
                updated_ms=now_ms,
            )
            if not kind:
                found.doubly_robust.CopyFrom(_as_interval(switched.estimate(self.wholes[policy], rewards=REWARDS)))
                if policy in self.costs:
                    many, took_s = self.costs[policy]
                    found.cost_us = round(took_s / many * 1e6)
                if policy in compared:
                    found.ahead.CopyFrom(evidence_of(compared[policy]).ahead)
            drifts = self.drifts.among(policy, kind)
            found.drifts = sum(one.n for one in drifts)
            found.drift_ms = max((one.last_ms for one in drifts), default=0)
            yield found

    def state(self) -> tuple[object, ...]:
        """Return all but what is `open` and the learners' people, as plain values: what `restore` takes, on the same machine."""
        early = [(name, [one.SerializeToString() for one in found]) for name, found in self._early.items()]
        learners = {one.name: one.state() for one in self._holders}
        waiting = list(self._held.items()), self._due, self._order, self._passed, early
        return (
            self.gate,
            self.groups,
            self.wholes,
            self.drifts,
            self._model,
            self._now_ms,
            waiting,
            learners,
            self._left,
        )

    def restore(self, state: tuple[Any, ...]) -> None:
        """Go on from there, with what was kept then."""
        self.gate, self.groups, self.wholes, self.drifts, self._model, self._now_ms, waiting, learners, self._left = (
            state
        )
        held, self._due, self._order, self._passed, early = waiting
        self._held = OrderedDict(held)
        self._early = {name: [outcome_pb2.Outcome.FromString(one) for one in found] for name, found in early}
        for one in self._holders:
            one.restore(learners[one.name])

    def _is_of_before(self, user_id: str, journal: journal_pb2.Position) -> bool:
        """Whether it came of a record of a life that ended."""
        left = self._left.get(user_id)
        return left is not None and left[0] == journal.topic_id and journal.offset <= left[1]

    def _teach(self, one: Open, reward: float) -> None:
        x = one.x.astype(np.int64)
        for holder in self._holders:
            row, expected = x[one.action : one.action + 1], one.expected.get(holder.name)
            holder.teach(one.user_id, row, reward=reward, time_ms=one.decided_ms, expected=expected)
        for learner in self.learners.values():
            if not isinstance(learner, InMemory):
                learner.learn(
                    one.user_id,
                    x,
                    action=one.action,
                    reward=reward,
                    propensity=float(one.logging[one.action]),
                    time_ms=one.decided_ms,
                )
        one.expected = {}

    def _count(self, one: Open, kind: outcome_pb2.Outcome.Kind.ValueType) -> None:
        tip = decision_pb2.Decision.TipKind.ValueType(one.kind)
        one.reward = reward = counted.reward(tip, kind, config=DEFAULT)
        x = one.x / sums.UNIT
        one.q_hat = model.predict(self._model, x)
        all_ = np.array(list(one.pmfs.values()))
        told = one.logging, one.q_hat, all_, one.action, reward, 1 / one.share
        terms, wholes = single.terms(*told), single.switched(*told, switched.CUTS)
        for name, new, whole in zip(one.pmfs, terms, wholes, strict=True):
            for group in {(name, 0, ""), (name, one.kind, one.prompt_version)}:
                self.groups[group] = estimates.plus(self.groups.get(group) or estimates.empty(), new)
            self.wholes[name] = switched.plus(self.wholes.get(name) or switched.empty(), whole)
        self._model = model.learn(self._model, x[one.action], np.array(reward))
        if kind in _FINAL:
            self.drifts.update(self.gate.champion, one.kind, reward - one.predicted, now_ms=one.decided_ms)

    def _watch(self, one: Open) -> Verdict | None:
        if one.share != self.gate.rule.share:
            self.gate = renewed(self.gate, share=one.share)
        try:
            if self.automatic:
                self.gate, verdict = watch(self.gate, one.event, one.pmfs)
            else:
                self.gate, verdict = noted(self.gate, one.event, one.pmfs), None
        except (KeyError, ValueError):
            # Logged by a policy that stood before this one knew of it, or with rewards of another configuration.
            return None
        if any(compared.mine.n >= ERA_MAX for compared in self.gate.comparisons):
            self.gate = renewed(self.gate)
        return verdict if verdict is not None and verdict.kind is not Kind.HOLD else None


def holders(learners: Mapping[str, Learner]) -> list[InMemory]:
    """Those of ours that hold people, once each."""
    return list({id(one): one for one in learners.values() if isinstance(one, InMemory)}.values())


def slate_of(decision: decision_pb2.Decision) -> slates.Eligible:
    """Read what could be drawn. Raises NotOurs."""
    try:
        slate = slates.eligible(decision)
    except ValueError as error:
        raise NotOurs(str(error)) from error
    if decision.chosen not in slate.places or decision_pb2.Decision.NONE not in slate.kinds:
        raise NotOurs("what was drawn could not be, or saying nothing could not")
    space = SPACES.get(decision.feature_version)
    if space is None:
        return slate
    # What a later version adds was 0.
    x = slates.widened(slate.x, SCORED.d, X_MAX) if slate.x.shape[1:] == (space.d,) else slate.x[:0]
    if not len(x):
        raise NotOurs("features that none of ours has")
    return slate._replace(x=x)


def with_challengers(
    champion: str, names: Iterable[str], *, rule: Rule, era: int = 0, former: str | None = None
) -> Gate:
    """A gate of this champion in which every other shadow that could be served waits; the rest are only estimated."""
    gate = opened(champion, rule=rule, era=era, former=former)
    for name in servable(names):
        if name not in (champion, former):
            gate = joined(gate, name)
    return gate


def servable(names: Iterable[str]) -> list[str]:
    """Those of these policies that `step` may decide with.

    >>> servable(["mixed", "mixed_rff", "vw"])
    ['mixed']
    """
    return [name for name in names if name in POLICIES and POLICIES[name].servable]


def evidence_of(found: Evidence) -> evaluation_pb2.Evidence:
    """As it is published."""
    low, high = found.difference
    return evaluation_pb2.Evidence(
        n=found.n,
        policy=_interval(*found.policy_dr),
        champion=_interval(*found.champion_dr),
        ahead=_interval(found.policy_dr[0] - found.champion_dr[0], low, high),
        margin=found.margin,
        alpha=found.alpha,
        effective_n=found.effective_n,
        mean_weight=found.mean_weight,
    )


def _as_interval(found: Estimate) -> evaluation_pb2.Interval:
    return _interval(float(found.value), float(found.low), float(found.high))


def _interval(value: float, low: float, high: float) -> evaluation_pb2.Interval:
    return evaluation_pb2.Interval(value=value, low=low, high=high)

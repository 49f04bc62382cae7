"""What follows when the world turns: captured gain right after changes that come at once, ours beside peers that forget.

People are those of the product's simulator for 150 decisions each, 18,000 in all. After two fifths and seven tenths of the time something changes: some
people take over the tastes of others (base, half heterogeneity), nothing (no drift), everybody's tastes alike, or everybody's for one topic. Measured over
all honest people: the 300 decisions of the population after each change, all decisions of whoever changed until the next change, and the whole.
All policies meet the same people, slates, delays and luck. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from threadpoolctl import threadpool_limits

from agents.bandit.learner import Floats, Ints, Learner
from bench.decisions.played import captured, play
from bench.decisions.slates import PER_USER, D, Slates, Turns, end_ms, slates
from bench.decisions.tips import SHAPE, Paired, ours
from bench.decisions.tips_peers import ONE, VowpalWabbit, greatest
from bench.result import Bench, Result, Row, slug
from deploy.simulator.people import START_MS, TOPICS, Person
from deploy.simulator.scenario import Scenario, load
from streams.units import DAY_MS

SEEDS = tuple(range(9321, 9331))
"""None that a choice was made on."""
DECISIONS = 150
"""Of a person."""
WINDOW = 300
AT = (2 / 5, 7 / 10)
WHEN = {
    "next": "the 300 decisions after each change",
    "changed": "those who changed, until the next",
    "all": "the whole",
}


def some(scenario: Scenario, people: Sequence[Person], chance: np.random.Generator) -> list[Person | None]:
    """Some take over another's tastes."""
    drawn = [(chance.random(), int(chance.integers(len(people)))) for _ in people]
    return [
        replace(one, tastes=people[whose].tastes) if who < scenario.drift_share else None
        for one, (who, whose) in zip(people, drawn, strict=True)
    ]


def everybody(_: Scenario, people: Sequence[Person], chance: np.random.Generator) -> list[Person | None]:
    """Everybody's tastes change by the same."""
    topic, (importance, urgency, effort, dread) = chance.normal(0.0, 0.7, len(TOPICS)), chance.normal(0.0, 0.5, 4)
    return [
        replace(
            one,
            tastes=replace(
                one.tastes,
                topic=one.tastes.topic + topic,
                importance=one.tastes.importance + importance,
                urgency=one.tastes.urgency + urgency,
                effort=one.tastes.effort + effort,
                dread=one.tastes.dread + dread,
            ),
        )
        for one in people
    ]


def one_topic(_: Scenario, people: Sequence[Person], chance: np.random.Generator) -> list[Person | None]:
    """One topic pleases everybody much more, or much less."""
    apart = np.zeros(len(TOPICS))
    apart[chance.integers(len(TOPICS))] = chance.choice([-1.5, 1.5])
    return [replace(one, tastes=replace(one.tastes, topic=one.tastes.topic + apart)) for one in people]


Change = Callable[[Scenario, Sequence[Person], np.random.Generator], list[Person | None]]
SCENARIOS: Mapping[str, tuple[str, Change]] = {
    "base": ("base", some),
    "half heterogeneity": ("half_heterogeneity", some),
    "no drift": ("no_drift", some),
    "everybody": ("no_drift", everybody),
    "one topic": ("no_drift", one_topic),
}


@dataclass(frozen=True, slots=True)
class Turned:
    """A population whose world turns."""

    slates: Slates
    turns: Sequence[Turns]
    """By person."""
    at_ms: Sequence[int]

    def gains(self, value: Floats) -> dict[str, float]:
        """Captured gain by WHEN."""
        time_ms, n = self.slates.time_ms, len(value)
        after, changed = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
        for begin_ms, until_ms in zip(self.at_ms, (*self.at_ms[1:], 1 << 62), strict=True):
            inside = (time_ms >= begin_ms) & (time_ms < until_ms)
            after[np.flatnonzero(inside)[:WINDOW]] = True
            who = [number for number, those in enumerate(self.turns) if any(one == begin_ms for one, _ in those)]
            changed |= inside & np.isin(self.slates.user, who)
        found = {"next": captured(self.slates, value, among=after), "all": captured(self.slates, value)}
        return found | ({"changed": captured(self.slates, value, among=changed)} if changed.any() else {})


def turned(name: str, *, seed: int) -> Turned:
    """Draws the population of this scenario."""
    file, change = SCENARIOS[name]
    scenario = replace(load(file), decisions_per_person=DECISIONS)
    begin = START_MS + round(scenario.joining_days * DAY_MS)
    at_ms = [begin + round((end_ms(scenario) - begin) * share) for share in AT]
    drawn: list[Turns] = []

    def turns(people: Sequence[Person]) -> Sequence[Turns]:
        found = [change(scenario, people, np.random.default_rng([seed, 5, nth])) for nth in range(len(at_ms))]
        drawn.extend(
            [(when, one.tastes) for when, one in zip(at_ms, those, strict=True) if one is not None]
            for those in zip(*found, strict=True)
        )
        return drawn

    return Turned(slates(scenario, seed=seed, turns=turns), drawn, at_ms)


@dataclass(slots=True)
class Forgetting:
    """Hybrid LinUCB (tips_peers) on sums that forget: r = zᵀβ + bᵀθᵤ, all of it solved anew every REFIT_EVERY rewards."""

    alpha: float
    cost: float
    half_life_ms: float
    ridge: float = 16.0
    refit_every: int = 50
    _sums: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    _inverse: Floats = field(init=False)
    _beta: Floats = field(default_factory=lambda: np.zeros(D))
    _rewards: int = 0

    def __post_init__(self) -> None:
        self._inverse = np.eye(D) / self.ridge

    def pmf(self, user_id: str, x: Ints, *, silent: int | None, time_ms: int, key: int) -> Floats:
        z = x / ONE
        b = z[:, :PER_USER]
        gram, moment = self._sums.get(user_id, (np.zeros((D, D)), np.zeros(D)))
        w = self._weight(time_ms)
        inverse = np.linalg.inv(gram[:PER_USER, :PER_USER] / w + self.ridge * np.eye(PER_USER))
        cross = gram[:PER_USER] / w
        theta = inverse @ (moment[:PER_USER] / w - cross @ self._beta)
        apart = z - b @ inverse @ cross
        variance = ((apart @ self._inverse) * apart).sum(axis=1) + ((b @ inverse) * b).sum(axis=1)
        return greatest(z @ self._beta + b @ theta + self.alpha * np.sqrt(variance) - self.cost, silent)

    def learn(self, user_id: str, x: Ints, *, action: int, reward: float, propensity: float, time_ms: int) -> None:
        z, w = x[action] / ONE, self._weight(time_ms)
        gram, moment = self._sums.setdefault(user_id, (np.zeros((D, D)), np.zeros(D)))
        gram += w * np.outer(z, z)
        moment += w * reward * z
        self._rewards += 1
        if self._rewards % self.refit_every == 0 or self._rewards < self.refit_every:
            self._fit(self._weight(time_ms))

    def _weight(self, time_ms: int) -> float:
        return float(2.0 ** ((time_ms - START_MS) / self.half_life_ms))

    def _fit(self, w: float) -> None:
        information, right = self.ridge * np.eye(D), np.zeros(D)
        for gram, moment in self._sums.values():
            cross = gram[:PER_USER] / w
            own = gram[:PER_USER, :PER_USER] / w + self.ridge * np.eye(PER_USER)
            solved = np.linalg.solve(own, np.column_stack([cross, moment[:PER_USER] / w]))
            information += gram / w - cross.T @ solved[:, :-1]
            right += moment / w - cross.T @ solved[:, -1]
        self._inverse = np.asarray(np.linalg.inv(information), dtype=np.float64)
        self._beta = self._inverse @ right


POLICIES: Mapping[str, Callable[[Scenario], Learner]] = {
    "mixed": lambda _: ours("mixed"),
    "VW tuned": lambda one: VowpalWabbit(
        "--cb_type mtr -q ua -q aa --squarecb --gamma_scale 1000 -l 0.3", one.interruption_cost
    ),
    "hybrid LinUCB, half-life a third": lambda one: Forgetting(
        0.1, one.interruption_cost, (end_ms(one) - START_MS) / 3
    ),
    "mixed, UCB, half-life a third": lambda one: ours(
        "linucb", shape=replace(SHAPE, half_life_ms=(end_ms(one) - START_MS) // 3)
    ),
}
"""The first is held beside the others. VW has the setting that was tuned for each of the eight scenarios of the table of simulated tips."""
MAIN = "mixed"


def measure(bench: Bench) -> Result:
    """Play all of them; quick: two scenarios, two seeds."""
    scenarios = list(SCENARIOS)[::3] if bench.quick else list(SCENARIOS)
    seeds = SEEDS[:2] if bench.quick else SEEDS
    names = [MAIN, *bench.asked_for(one for one in POLICIES if one != MAIN)]
    rows: list[Row] = []
    for scenario in scenarios:
        found = [played(scenario, seed, names) for seed in bench.track(seeds, scenario, len(seeds))]
        rows += _rows(scenario, found)
    return Result(rows=rows)


def played(scenario: str, seed: int, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """What each captured on this population, by WHEN."""
    world = turned(scenario, seed=seed)
    with threadpool_limits(1):
        return {name: world.gains(play(world.slates, POLICIES[name](world.slates.scenario)).value) for name in names}


def _rows(scenario: str, found: Sequence[Mapping[str, Mapping[str, float]]]) -> Iterator[Row]:
    for peer in list(found[0])[1:]:
        for when, said in WHEN.items():
            if when not in found[0][MAIN]:
                continue
            mine, theirs = ([one[name][when] for one in found] for name in (MAIN, peer))
            a, b = float(np.mean(mine)), float(np.mean(theirs))
            yield Row(
                slug(f"turns {scenario} {peer} {when}"),
                f"{scenario}, {said}: captured gain, difference {Paired.of(mine, theirs)}",
                round(a, 3), "", round(b, 3), peer, round(a / b, 3),
            )  # fmt: skip

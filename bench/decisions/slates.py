"""A simulated population as slates: each decision's candidates as features, with the truth beside them. Fast.

Everything but the choice is drawn beforehand, so that every policy meets the same people, slates, delays and luck
(common random numbers). Here a tip tires whoever made it: `tips_lately` counts decisions, not what a policy said.
It never shows a policy anything but `x`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from deploy.simulator import world
from deploy.simulator.facts import NONE, Facts, facts
from deploy.simulator.people import (
    AWAKE_HOURS,
    LATELY_MS,
    START_MS,
    TOPICS,
    Person,
    Tastes,
    first_day,
    moment_ms,
    people,
)
from deploy.simulator.scenario import Scenario
from deploy.simulator.world import Moments
from streams.units import DAY_MS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NAMES = (
    # On these people differ: the first of them act per user in whoever has a level for users.
    "one",
    *TOPICS,
    "priority",
    "due_within_day",
    "short",
    "has_due",
    "overdue",
    "due_within_week",
    "age",
    "fits_gap",
    "busy_now",
    "free_time",
    "morning",
    "afternoon",
    "evening",
    "weekend",
    "done_rate",
    "dismiss_rate",
    "snooze_rate",
    "tips_lately",
    "minutes_known",
    "priority_given",
    "labelled",
    # These mean nothing.
    "notes",
    "links",
    "words",
    "sources",
)
D = len(NAMES)
PER_USER = 1 + len(TOPICS) + 3
ONE = 64


@dataclass(frozen=True, slots=True)
class Slates:
    """n decisions in the order of time, with K candidates each; the truth is for the judge, never for a policy."""

    scenario: Scenario
    user: Ints
    """(n,) the person's number."""
    nth: Ints
    """(n,) which decision of theirs it is, from 0."""
    time_ms: Ints
    x: Ints
    """(n, K, D) in units of 1/64 within [-64, 64]."""
    shares: Floats
    """(n, K, 4) probability of each outcome, as it is told."""
    value: Floats
    """(n, K) what showing it is worth in the mean."""
    counted: Bools
    """(n,) False for people whose reactions say nothing of what they think."""
    drifted: Bools
    """(n,) True for those who change, from then on."""
    delay_ms: Ints
    luck: Floats
    """(n, 3) within [0, 1): for the choice, the outcome, and whether its reaction gets lost."""
    keys: Ints
    """(n, 2) 128 bits for a policy's own chance."""
    silent: int | None
    """The row that says nothing."""

    @property
    def oracle(self) -> Floats:
        """(n,) the best value on each slate, for one who knows everything."""
        best: Floats = self.value.max(axis=1)
        return best

    @property
    def random(self) -> Floats:
        """(n,) the value of choosing evenly."""
        mean: Floats = self.value.mean(axis=1)
        return mean


Turns = Sequence[tuple[int, Tastes]]
"""From when on a person has which tastes, in order of time; before the first they have those of their own."""


def own_turns(crowd: Sequence[Person]) -> list[Turns]:
    """Return what the scenario itself has: some of them change once, midway."""
    return [[(one.drift_ms, one.tastes_after)] if one.drift_ms else [] for one in crowd]


def slates(
    scenario: Scenario, *, seed: int, turns: Callable[[Sequence[Person]], Sequence[Turns]] = own_turns
) -> Slates:
    """Draws a population and all its slates; `turns`: when who changes to what, one by one."""
    crowd = people(scenario, count=scenario.people, seed=seed, start_ms=START_MS, end_ms=end_ms(scenario))
    parts = [
        _of_person(person, scenario, turns=those, chance=np.random.default_rng([seed, 2, person.number]))
        for person, those in zip(crowd, turns(crowd), strict=True)
    ]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["time_ms"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    assert set(columns) == {one.name for one in fields(Slates)} - {"scenario", "silent"}
    silent = scenario.candidates if scenario.silent_candidate else None
    return Slates(scenario=scenario, silent=silent, **columns)


def end_ms(scenario: Scenario) -> int:
    """Return about when the last decision is."""
    days = scenario.joining_days + scenario.decisions_per_person / scenario.decisions_per_day
    return START_MS + int(days * DAY_MS)


def _of_person(
    person: Person, scenario: Scenario, *, turns: Turns, chance: np.random.Generator
) -> dict[str, npt.NDArray[np.generic]]:
    n, k = scenario.decisions_per_person, scenario.candidates
    awake = np.cumsum(chance.exponential(AWAKE_HOURS / scenario.decisions_per_day, n))
    day = first_day(person, time_ms=person.joins_ms)
    times = [
        moment_ms(person, day=day + int(hours // AWAKE_HOURS), awake_hours=float(hours % AWAKE_HOURS))
        for hours in awake
    ]
    time_ms = np.array(times, dtype=np.int64)
    hour = np.array([person.hour_at(one) for one in times])
    weekend = np.array([(day + int(hours // AWAKE_HOURS) + 3) % 7 >= 5 for hours in awake])  # day 0 was a Thursday
    at = Moments(
        hour=hour,
        busy=busy(chance, hour=hour, weekend=weekend),
        tips_lately=(np.arange(n) - np.searchsorted(time_ms, time_ms - LATELY_MS)).astype(np.float64),
        mood=mood(chance, n),
        weekend=weekend,
    )
    them = world.things(chance, (n, k))
    before = world.chances(person.tastes, person, them, at, scenario=scenario)
    shares, drifted = before, np.zeros(n, dtype=np.bool_)
    for turn_ms, tastes in turns:
        turned = time_ms >= turn_ms
        after = world.chances(tastes, person, them, at, scenario=scenario)
        shares, drifted = np.where(turned[:, None, None], after, shares), drifted | turned
    told = facts(chance, them, label_noise=scenario.label_noise)
    x = features(told, at, weekend=weekend, rates=before.mean(axis=(0, 1)), chance=chance)
    value = world.values(shares, scenario=scenario)
    shares = world.clicked(person.manner, shares)
    if scenario.silent_candidate:
        x = np.concatenate([x, np.zeros((n, 1, D), dtype=np.int64)], axis=1)
        value = np.concatenate([value, np.zeros((n, 1))], axis=1)
        nothing = np.zeros((n, 1, world.OUTCOMES))
        nothing[..., world.IGNORE] = 1.0
        shares = np.concatenate([shares, nothing], axis=1)
    return {
        "user": np.full(n, person.number, dtype=np.int64),
        "nth": np.arange(n, dtype=np.int64),
        "time_ms": time_ms,
        "x": x,
        "shares": shares,
        "value": value,
        "counted": np.full(n, person.manner == "honest"),
        "drifted": drifted,
        "delay_ms": delays(chance, person, scenario, n=n),
        "luck": chance.random((n, 3)),
        "keys": chance.integers(2**63, size=(n, 2)),
    }


def busy(chance: np.random.Generator, *, hour: Floats, weekend: Bools) -> Floats:
    """How busy a person is at these hours of their clock: at work on weekdays from nine to five; (n,)."""
    at_work = (hour >= 9) & (hour < 17) & ~weekend
    found: Floats = np.where(at_work, chance.beta(4.0, 2.5, len(hour)), chance.beta(1.2, 4.0, len(hour)))
    return found


def mood(chance: np.random.Generator, n: int) -> Floats:
    """A mood that lingers over n moments in turn: autoregressive, of standard deviation 0.3; (n,)."""
    steps, found, now = chance.normal(0.0, 1.0, n), np.empty(n), 0.0
    for index in range(n):
        now = 0.8 * now + 0.18 * steps[index]
        found[index] = now
    return found


def delays(chance: np.random.Generator, person: Person, scenario: Scenario, *, n: int) -> Ints:
    """Milliseconds until a reaction, log-normal; (n,)."""
    minutes = scenario.delay_median_minutes * person.slowness * chance.lognormal(0.0, scenario.delay_spread, n)
    found: Ints = np.rint(np.minimum(minutes, 7 * 24 * 60) * 60_000).astype(np.int64)
    return found


def features(told: Facts, at: Moments, *, weekend: Bools, rates: Floats, chance: np.random.Generator) -> Ints:
    """What a policy sees: (n, K, D) in units of 1/64. Context is shown with noise, hidden things not at all."""
    n, k = told.label.shape

    def shared(column: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.broadcast_to(column[:, None], (n, k))

    seen_busy = np.clip(at.busy + chance.normal(0.0, 0.2, n), 0.0, 1.0)
    free_minutes = 240.0 * (1.0 - seen_busy)
    minutes = np.where(told.minutes > 0, told.minutes, 30)
    left = np.maximum(told.left_hours, 0.0)
    part = (at.hour // 6).astype(np.int64)
    known = np.clip(rates + chance.normal(0.0, 0.05, world.OUTCOMES), 0.0, 1.0)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "one": np.ones((n, k)),
        **{topic: told.label == number for number, topic in enumerate(TOPICS)},
        "priority": np.where(told.priority > 0, (5 - told.priority) / 4, 0.0),
        "due_within_day": told.has_due * np.maximum(1.0 - left / 24.0, 0.0),
        "short": np.maximum(120 - minutes, 0) / 120,
        "has_due": told.has_due,
        "overdue": told.has_due & (told.left_hours < 0),
        "due_within_week": told.has_due * np.maximum(1.0 - left / 168.0, 0.0),
        "age": told.age_days / (told.age_days + 7),
        "fits_gap": minutes <= free_minutes[:, None],
        "busy_now": shared(seen_busy > 0.5),
        "free_time": shared(1.0 - seen_busy),
        "morning": shared(part == 1),
        "afternoon": shared(part == 2),
        "evening": shared(part == 3),
        "weekend": shared(weekend),
        "done_rate": np.full((n, k), known[world.DONE]),
        "dismiss_rate": np.full((n, k), known[world.DISMISS]),
        "snooze_rate": np.full((n, k), known[world.SNOOZE]),
        "tips_lately": shared(at.tips_lately / (at.tips_lately + 3)),
        "minutes_known": told.minutes > 0,
        "priority_given": told.priority > 0,
        "labelled": told.label != NONE,
        "notes": chance.random((n, k)) < 0.3,
        "links": chance.random((n, k)) < 0.2,
        "words": chance.random((n, k)),
        "sources": chance.random((n, k)) < 0.5,
    }
    assert tuple(columns) == NAMES
    x: Ints = np.rint(ONE * np.stack([column.astype(np.float64) for column in columns.values()], axis=-1)).astype(
        np.int64
    )
    return x

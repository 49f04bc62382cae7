"""The people of a simulation: tastes that cluster and drift, a routine in their own time zone, patience, honesty.

All of a person follows from (seed, number): the same in every scenario but for what the scenario scales. It never
looks at a policy, and holds much that no feature of the product shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from deploy.simulator.scenario import Scenario
from streams.units import DAY_MS, HOUR_MS
from tables.zones import local, zone

Floats = npt.NDArray[np.float64]

TOPICS = ("calls", "errands", "home", "work", "health", "money", "learning", "friends")
PARTS = 4
"""Of the day, as tables.zones has them."""
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "America/Los_Angeles",
    "Asia/Tokyo",
    "Europe/London",
    "Australia/Sydney",
    "America/Sao_Paulo",
)
START_MS = int(datetime(2026, 10, 12, tzinfo=UTC).timestamp() * 1000)
"""A Monday; the clocks of Europe and America change within the weeks that follow."""
AWAKE_HOURS = 15.0
LATELY_MS = 4 * HOUR_MS
"""How long a tip tires whoever saw it."""

Manner = Literal["honest", "done", "dismiss", "contrary"]
_CLICKERS: tuple[Manner, ...] = ("done", "dismiss", "contrary")


@dataclass(frozen=True, slots=True)
class Tastes:
    """What a person likes. Pulls are about 1; `topic` and `routine` about 0."""

    topic: Floats
    """(topics,)."""
    routine: Floats
    """(topics, parts of the day): when they like to do what."""
    importance: float
    urgency: float
    threshold: float
    """The urgency within [0, 1] from which on it moves them at all."""
    effort: float
    dread: float


@dataclass(frozen=True, slots=True)
class Person:
    """One person; times are event time."""

    number: int
    cluster: int
    time_zone: str
    tastes: Tastes
    tastes_after: Tastes
    """From `drift_ms` on."""
    drift_ms: int
    """0: they do not change."""
    joins_ms: int
    wake_hour: float
    peak_hour: float
    """When they are at their best."""
    impatience: float
    """Times the scenario's fatigue; about 1."""
    slowness: float
    """Times the scenario's delay; about 1."""
    manner: Manner

    def tastes_at(self, time_ms: int) -> Tastes:
        """Their tastes at that time."""
        return self.tastes_after if self.drift_ms and time_ms >= self.drift_ms else self.tastes

    def hour_at(self, time_ms: int) -> float:
        """The hour on their clock, within [0, 24)."""
        clock = local(time_ms, time_zone=self.time_zone)
        return clock.hour + clock.minute / 60


def people(scenario: Scenario, *, count: int, seed: int, start_ms: int, end_ms: int) -> list[Person]:
    """`count` people who join after `start_ms`; those who drift do it midway between joining and `end_ms`."""
    shared = np.random.default_rng([seed, 0])
    common = shared.normal(0.0, 0.5, len(TOPICS))
    common_routine = shared.normal(0.0, 0.3, (len(TOPICS), PARTS))
    clusters = shared.normal(0.0, 0.9, (scenario.clusters, len(TOPICS)))
    cluster_routines = shared.normal(0.0, 0.5, (scenario.clusters, len(TOPICS), PARTS))
    cluster_pulls = shared.normal(0.0, 0.5, (scenario.clusters, 5))

    def person(number: int) -> Person:
        own = np.random.default_rng([seed, 1, number])

        def tastes(cluster: int) -> Tastes:
            # Student's t: a few people are far from everybody.
            topic = common + scenario.heterogeneity * (clusters[cluster] + 0.35 * own.standard_t(3, len(TOPICS)))
            routine = common_routine + scenario.heterogeneity * (
                cluster_routines[cluster] + own.normal(0.0, 0.3, (len(TOPICS), PARTS))
            )
            apart = scenario.heterogeneity * (cluster_pulls[cluster] + own.normal(0.0, 0.25, 5))
            return Tastes(
                topic=topic,
                routine=routine,
                importance=1.0 + apart[0],
                urgency=1.0 + apart[1],
                threshold=float(np.clip(0.5 + 0.4 * apart[2], 0.1, 0.9)),
                effort=1.0 + apart[3],
                dread=1.0 + apart[4],
            )

        cluster, after = (int(one) for one in own.integers(scenario.clusters, size=2))
        joins_ms = start_ms + int(own.random() * min(scenario.joining_days * DAY_MS, 0.5 * (end_ms - start_ms)))
        drifts, clicks, which = own.random(), own.random(), int(own.integers(len(_CLICKERS)))
        wake_hour = float(np.clip(own.normal(7.0, 1.3), 4.5, 11.0))
        return Person(
            number=number,
            cluster=cluster,
            time_zone=ZONES[int(own.integers(len(ZONES)))],
            tastes=tastes(cluster),
            tastes_after=tastes(after),
            drift_ms=(joins_ms + end_ms) // 2 if drifts < scenario.drift_share else 0,
            joins_ms=joins_ms,
            wake_hour=wake_hour,
            peak_hour=wake_hour + float(own.choice([3.0, 5.0, 12.0])),
            impatience=float(own.lognormal(0.0, 0.4)),
            slowness=float(own.lognormal(0.0, 0.5)),
            manner=_CLICKERS[which] if clicks < scenario.clickers else "honest",
        )

    return [person(number) for number in range(count)]


def moment_ms(person: Person, *, day: int, awake_hours: float) -> int:
    """The instant on the day-th day since 1970 of their calendar, so many hours after they usually get up.

    Hours are their clock's: where it is put forward or back, the routine moves along.
    """
    clock = datetime(1970, 1, 1, tzinfo=zone(person.time_zone)) + timedelta(
        days=day, milliseconds=round(3_600_000 * (person.wake_hour + awake_hours))
    )
    return int(clock.timestamp() * 1000)


def first_day(person: Person, *, time_ms: int) -> int:
    """Days since 1970 on their calendar at that time."""
    return local(time_ms, time_zone=person.time_zone).toordinal() - datetime(1970, 1, 1).toordinal()  # noqa: DTZ001

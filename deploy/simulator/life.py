"""A simulated person's days with the product: what their sources tell, when they look, and how they take a tip.

Times are the simulation's. All of it follows from (scenario, seed, number) and from what the person is shown. It never
sends anything: whoever drives it does, into the pure core (pure.py) or into a running stack (live.py).
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge

import numpy as np
import numpy.typing as npt

from deploy.simulator import likings, world
from deploy.simulator.facts import NONE, Facts, facts
from deploy.simulator.likings import Written
from deploy.simulator.people import AWAKE_HOURS, LATELY_MS, TOPICS, Person, first_day, moment_ms
from deploy.simulator.scenario import Scenario
from deploy.simulator.world import DONE, IGNORE, Moments, Things
from oo.v1 import signal_pb2
from streams.units import DAY_MS, HOUR_MS, MINUTE_MS
from tables.backlog import from_ms

Floats = npt.NDArray[np.float64]

SOURCE = "simulator"
STARTERS = ("plan", "pause", "tidy", "prepare", "gap")
"""Tips that come from no task; an unknown one is taken for one of these."""
WRITTEN_HEAD = "generated:"
WRITTEN_MAX = 256
"""Written tips of which a person knows, the newest: none stands for longer than a day."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something a person or one of their sources does at a time: `look`, or a signal that `Life.signal` then makes."""

    time_ms: int
    kind: str
    """look, profile, task, completed, removed or event."""
    index: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """How a tip was taken when it was first seen."""

    outcome: int
    """As in world: what they think of it."""
    delay_ms: int | None
    """Until the reaction is told; None for silence."""
    value: float
    """What showing it was worth in the mean."""


class Life:
    """One person between two times."""

    def __init__(self, person: Person, scenario: Scenario, *, user_id: str, seed: int, end_ms: int) -> None:
        self.person = person
        self.user_id = user_id
        self.scenario = scenario
        self._chance = np.random.default_rng([seed, 3, person.number])
        self._seed = seed
        self._answers = np.random.default_rng([seed, 4, person.number])
        """Apart from the above: what is shown must not change what sources tell."""
        days = max((end_ms - person.joins_ms) / DAY_MS, 0.0)
        count = scenario.tasks_at_first + int(self._chance.poisson(scenario.tasks_per_day * days))
        told_ms = np.sort(self._chance.uniform(person.joins_ms, max(end_ms, person.joins_ms + 1), count))
        told_ms[: scenario.tasks_at_first] = person.joins_ms
        self._told_ms = np.concatenate([told_ms.astype(np.int64), np.full(len(STARTERS), person.joins_ms)])
        self._things: Things = world.things(self._chance, (count + len(STARTERS),))
        self._facts: Facts = facts(self._chance, self._things, label_noise=scenario.label_noise)
        self._tasks = count
        self._gone: set[int] = set()
        self._seen: deque[int] = deque()
        self._looks = deque[str](maxlen=64)
        self._mood = 0.0
        self._written: dict[str, tuple[Written, float]] = {}
        self._events: list[tuple[int, int]] = []
        self._acts = merge(self._sources(end_ms), self._day_by_day(end_ms), key=lambda act: act.time_ms)

    def acts(self) -> Iterator[Act]:
        """What happens, in the order of time."""
        return self._acts

    def signal(self, act: Act, *, event_id: str, offset_ms: int = 0) -> signal_pb2.Signal | None:
        """What a source tells; None where there is nothing left to tell. `offset_ms` moves its times to another clock."""
        made = signal_pb2.Signal(event_id=event_id, user_id=self.user_id, source=SOURCE)
        made.event_time.CopyFrom(from_ms(act.time_ms + offset_ms))
        name = f"t{act.index}"
        match act.kind:
            case "profile":
                made.profile_changed.time_zone = self.person.time_zone
                if self.scenario.tips_per_hour:
                    made.profile_changed.tips_per_hour = self.scenario.tips_per_hour
                if self.scenario.tips_per_day:
                    made.profile_changed.tips_per_day = self.scenario.tips_per_day
            case "task":
                self._describe(made.task_upserted, act, offset_ms=offset_ms)
            case "event":
                start_ms, end_ms = self._events[act.index]
                event = made.calendar_event_upserted
                event.external_id, event.title = f"e{act.index}", f"Meeting {act.index}"
                event.start.CopyFrom(from_ms(start_ms + offset_ms))
                event.end.CopyFrom(from_ms(end_ms + offset_ms))
            case _ if act.index in self._gone:
                return None
            case "completed":
                self._gone.add(act.index)
                made.task_completed.external_id = name
            case _:
                assert act.kind == "removed", act
                made.task_removed.external_id = name
        return made

    def read(self, candidate: str, written: Written) -> None:
        """They know from now on who wrote this tip, and what it is about."""
        pull = likings.pull(self.person, self.scenario, written, seed=self._seed, candidate=candidate)
        self._written[candidate] = written, pull
        if len(self._written) > WRITTEN_MAX:
            del self._written[next(iter(self._written))]

    def knows(self, candidate: str) -> bool:
        """Whether they can say what it is worth: of a tip that a model wrote only once it was read."""
        return not candidate.startswith(WRITTEN_HEAD) or candidate in self._written

    def values(self, candidates: list[str], *, now_ms: int) -> Floats:
        """What showing each of them would be worth now, in the mean; by candidate id, 0 for saying nothing. (K,)."""
        found = np.zeros(len(candidates))
        spoken = [at for at, one in enumerate(candidates) if one != "none"]
        if spoken:
            shares = self._shares([candidates[at] for at in spoken], self._moment(now_ms), now_ms=now_ms)
            found[spoken] = world.values(shares, scenario=self.scenario)
        return found

    def first_look(self, decision_id: str) -> bool:
        """True the first time that they see this decision."""
        if decision_id in self._looks:
            return False
        self._looks.append(decision_id)
        return True

    def respond(self, candidate: str, *, now_ms: int) -> Response:
        """They see a tip for the first time, and make up their mind."""
        shares = self._shares([candidate], self._moment(now_ms), now_ms=now_ms)[0]
        value = float(world.values(shares, scenario=self.scenario))
        self._seen.append(now_ms)
        told = world.clicked(self.person.manner, shares)
        for_outcome, for_loss = self._answers.random(2).tolist()
        outcome = min(int(np.searchsorted(np.cumsum(told), for_outcome, side="right")), IGNORE)
        minutes = self.scenario.delay_median_minutes * self.person.slowness
        delay_ms = int(MINUTE_MS * minutes * self._answers.lognormal(0.0, self.scenario.delay_spread))
        self._mood = 0.8 * self._mood + 0.18 * float(self._answers.normal())
        lost = for_loss < world.losses(self.scenario)[outcome]
        if outcome == DONE and candidate.startswith("task:"):
            self._gone.add(self._index(candidate))
        return Response(outcome, None if lost else delay_ms, value)

    def afterwards(self, candidate: str, response: Response, *, now_ms: int) -> Act | None:
        """A task that was done without a word: a day later its source has it no more. One that a written tip led to is ticked off
        within the hour.
        """
        index = self._index(candidate)
        if response.outcome != DONE or index >= self._tasks:
            return None
        if candidate.startswith(WRITTEN_HEAD):
            return Act(now_ms + HOUR_MS, "completed", index)
        if response.delay_ms is not None:
            return None
        self._gone.discard(index)
        return Act(now_ms + DAY_MS, "removed", index)

    def _index(self, candidate: str) -> int:
        kind, _, name = candidate.partition(":")
        if kind == "task":
            return int(name.rpartition("/t")[2])
        if candidate in self._written and (task := self._written[candidate][0].task) is not None:
            return task
        return self._tasks + (STARTERS.index(name) if name in STARTERS else zlib.crc32(name.encode()) % len(STARTERS))

    def _shares(self, candidates: list[str], at: Moments, *, now_ms: int) -> Floats:
        indices = [self._index(one) for one in candidates]
        pull = [self._written[one][1] if one in self._written else 0.0 for one in candidates] if self._written else 0.0
        them, waited_days = self._things, (now_ms - self._told_ms[indices]) / DAY_MS
        return world.chances(
            self.person.tastes_at(now_ms),
            self.person,
            Things(
                topic=them.topic[indices],
                importance=them.importance[indices],
                # What waits becomes more urgent.
                urgency=1.0 - (1.0 - them.urgency[indices]) * np.exp(-np.maximum(waited_days, 0.0) / 10.0),
                effort=them.effort[indices],
                dread=them.dread[indices],
                whim=them.whim[indices],
                pull=np.array(pull),
            ),
            at,
            scenario=self.scenario,
        )

    def _moment(self, now_ms: int) -> Moments:
        while self._seen and self._seen[0] <= now_ms - LATELY_MS:
            self._seen.popleft()
        in_event = any(start_ms <= now_ms < end_ms for start_ms, end_ms in self._events[-32:])
        hour = self.person.hour_at(now_ms)
        weekend = first_day(self.person, time_ms=now_ms) % 7 in (2, 3)  # day 0 was a Thursday
        at_work = 9 <= hour < 17 and not weekend
        return Moments(
            hour=np.array(hour),
            busy=np.array(0.95 if in_event else 0.55 if at_work else 0.2),
            tips_lately=np.array(float(len(self._seen))),
            mood=np.array(self._mood),
            weekend=np.array(weekend),
        )

    def _describe(self, upsert: signal_pb2.TaskUpserted, act: Act, *, offset_ms: int) -> None:
        told, index = self._facts, act.index
        label = int(told.label[index])
        upsert.external_id = f"t{index}"
        upsert.title = f"{'Something' if label == NONE else TOPICS[label].capitalize()} {index}"
        upsert.priority = int(told.priority[index])
        upsert.estimated_minutes = int(told.minutes[index])
        if label != NONE:
            upsert.labels.append(TOPICS[label])
        if told.has_due[index]:
            upsert.due.CopyFrom(from_ms(act.time_ms + offset_ms + int(told.left_hours[index] * HOUR_MS)))

    def _sources(self, end_ms: int) -> Iterator[Act]:
        """Tasks as they arrive, and those that get done without any tip."""
        yield Act(self.person.joins_ms, "profile")
        acts = []
        for index in range(self._tasks):
            told_ms = int(self._told_ms[index])
            acts.append(Act(told_ms, "task", index))
            if self._chance.random() < 0.5:
                done_ms = told_ms + int(self._chance.exponential(6.0) * DAY_MS) + HOUR_MS
                acts.append(Act(done_ms, "completed", index))
        acts.sort(key=lambda act: act.time_ms)
        yield from (act for act in acts if act.time_ms < end_ms)

    def _day_by_day(self, end_ms: int) -> Iterator[Act]:
        """Looks and calendar, as the day begins on their own clock."""
        chance = np.random.default_rng([int(self._chance.integers(2**31)), 5])
        day = first_day(self.person, time_ms=self.person.joins_ms)
        while moment_ms(self.person, day=day, awake_hours=0.0) < end_ms:
            begins_ms = moment_ms(self.person, day=day, awake_hours=0.0)
            acts = []
            for _ in range(int(chance.poisson(self.scenario.events_per_day))):
                start_ms = begins_ms + int(chance.uniform(2.0, 10.0) * HOUR_MS)
                self._events.append((start_ms, start_ms + 30 * MINUTE_MS * int(chance.integers(1, 4))))
                acts.append(Act(begins_ms, "event", len(self._events) - 1))
            looks = np.sort(chance.uniform(0.0, AWAKE_HOURS, int(chance.poisson(self.scenario.looks_per_day))))
            acts += [Act(moment_ms(self.person, day=day, awake_hours=float(hours)), "look") for hours in looks]
            yield from (act for act in acts if self.person.joins_ms <= act.time_ms < end_ms)
            day += 1

"""Simulated people against a running stack: a producer of signals and reactions, and a reader of tips, like any other.

Waits are shortened by `speed`; the stack's own clock is not, so what it puts off for an hour stays off for an hour.
It joins no consumer group, and writes to the two public topics alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path

from google.protobuf.message import Message

from connectors.delivery import headers
from connectors.key_files import KeyFiles
from deploy.simulator.agenda import Agenda
from deploy.simulator.life import Act, Life
from deploy.simulator.people import people
from deploy.simulator.scenario import Scenario
from deploy.simulator.visit import Tally, Visit, look, read
from oo.v1 import decision_pb2, reaction_pb2
from streams.clock import clock_ms
from streams.cluster import Cluster
from streams.keys import Keys, opened_by
from streams.producer import Producer
from streams.reader import Follower, Tail, end_offsets
from streams.schemas import Schemas
from streams.topics import Topic
from streams.units import DAY_MS
from tables.backlog import from_ms
from tables.pseudonyms import Pseudonyms

LOOK_EVERY_S = 0.5
"""Between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a live run goes."""

    users: int
    minutes: float
    speed: float
    """Simulated seconds a second."""
    seed: int
    run: str
    """Goes into all ids: a second run of one name and seed is taken for the first one's duplicate."""
    rate: float | None = None
    """Signals a second in place of the scenario's own."""

    @property
    def span_ms(self) -> int:
        """Of simulated time, long enough for the signals that the rate asks for."""
        return round(self.minutes * 60_000 * self.speed)

    def horizon_ms(self, scenario: Scenario) -> int:
        """Over which lives are drawn: as long as the run, and as long as it takes to have signals enough."""
        if self.rate is None:
            return self.span_ms
        a_day = max(self.users * (scenario.tasks_per_day + scenario.events_per_day), 1e-3)
        return max(self.span_ms, round((2.0 + 2.0 * self.rate * self.minutes * 60 / a_day) * DAY_MS))


@dataclass(slots=True)
class Heard:
    """What the stack has said so far, by pseudonym."""

    tips: int = 0
    decisions: dict[str, decision_pb2.Decision] = field(default_factory=dict)
    served: dict[str, decision_pb2.Tip] = field(default_factory=dict)

    def hear(self, message: Message) -> None:
        """Keeps the greatest of each."""
        if isinstance(message, decision_pb2.Decision):
            known = self.decisions.get(message.user_id)
            if known is None or message.journal.offset > known.journal.offset:
                self.decisions[message.user_id] = message
        elif isinstance(message, decision_pb2.Tip):
            served = self.served.get(message.user_id)
            if served is None or _place(message) > _place(served):
                self.served[message.user_id] = message
                self.tips += 1

    def standing(self, whose: str) -> tuple[decision_pb2.Decision, decision_pb2.Tip] | None:
        """The decision whose tip is served, and that tip; None where either has not arrived."""
        decision, tip = self.decisions.get(whose), self.served.get(whose)
        if decision is None or tip is None or _place(decision) != _place(tip):
            return None
        return decision, tip


def _place(message: decision_pb2.Decision | decision_pb2.Tip) -> tuple[int, int]:
    return message.journal.partition, message.journal.offset


class Crowd:
    """All simulated people of one run; made and used inside one running event loop."""

    def __init__(
        self,
        plan: Plan,
        scenario: Scenario,
        *,
        cluster: Cluster,
        sends: Cluster,
        kek_dir: Path,
        pseudonyms: Pseudonyms,
    ) -> None:
        """`sends`: the same cluster, signed in to as a producer is."""
        self.tally, self.heard = Tally(), Heard()
        self._plan = plan
        self._topics: Mapping[str, Topic] = cluster.topics
        self._schemas = Schemas(cluster)
        self._producer = Producer(sends, client_id="oo-simulate")
        self._cluster = cluster
        self._keys = Keys.of(cluster, KeyFiles(kek_dir))
        self._start_ms = clock_ms()
        self._agenda, self._queue = Agenda(), Agenda()
        """What people do at their times; and with a rate, signals, whose times then only order them."""
        horizon_ms = self._start_ms + plan.horizon_ms(scenario)
        self._lives: dict[str, Life] = {}
        self._pseudonyms: dict[str, str] = {}
        """By user id; what is said of them has the pseudonym."""
        for person in people(
            scenario,
            count=plan.users,
            seed=plan.seed,
            start_ms=self._start_ms,
            end_ms=self._start_ms + max(plan.span_ms, 1),
        ):
            user_id = f"sim-{plan.run}-{person.number}"
            life = Life(person, scenario, user_id=user_id, seed=plan.seed, end_ms=horizon_ms)
            self._lives[user_id], self._pseudonyms[user_id] = life, pseudonyms.of(user_id)
            if plan.rate is None:
                self._agenda.follow(user_id, life.acts())
            else:
                looks, signals = tee(life.acts())
                self._agenda.follow(user_id, (act for act in looks if act.kind == "look"))
                self._queue.follow(user_id, (act for act in signals if act.kind != "look"))

    async def run(self, stop: asyncio.Event, *, on_progress: Callable[[float, Tally, Heard], None]) -> None:
        """Until the minutes are over or `stop` is set. Raises DeliveryFailed, and the errors of registry and Kafka."""
        await self._schemas.register()
        # Where they begin stands before anything is sent that could be answered.
        begun = {name: await self._from_the_end(name) for name in ("tips", "decisions")}
        followers = [asyncio.create_task(self._follow(name, follower)) for name, follower in begun.items()]
        followers.append(asyncio.create_task(self._keys.follow(Tail(self._cluster, self._topics["keys"].name))))
        try:
            await self._drive(stop, followers, on_progress=on_progress)
            await self._producer.flush()
        finally:
            for task in followers:
                task.cancel()
            await asyncio.gather(*followers, return_exceptions=True)
            await self._producer.close()
            self._schemas.close()

    async def _drive(
        self,
        stop: asyncio.Event,
        followers: list[asyncio.Task[None]],
        *,
        on_progress: Callable[[float, Tally, Heard], None],
    ) -> None:
        began_s, sent = time.monotonic(), 0
        lasts_s = self._plan.minutes * 60
        while not stop.is_set() and (passed_s := time.monotonic() - began_s) < lasts_s:
            on_progress(passed_s / lasts_s, self.tally, self.heard)
            now_ms = self._start_ms + round(passed_s * 1000 * self._plan.speed)
            while self._agenda.next_ms is not None and self._agenda.next_ms <= now_ms:
                _, user_id, what = self._agenda.pop()
                await self._do(user_id, what, now_ms=now_ms)
            if self._plan.rate is not None:
                while sent < self._plan.rate * passed_s and self._queue.next_ms is not None:
                    _, user_id, what = self._queue.pop()
                    await self._do(user_id, what, now_ms=now_ms)
                    sent += 1
            if self._producer.failure is not None:
                raise self._producer.failure
            for task in followers:
                if task.done():
                    task.result()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._pause_s(now_ms, sent, passed_s))

    def _pause_s(self, now_ms: int, sent: int, passed_s: float) -> float:
        waits = [LOOK_EVERY_S]
        if self._agenda.next_ms is not None:
            waits.append((self._agenda.next_ms - now_ms) / 1000 / self._plan.speed)
        if self._plan.rate is not None and self._queue.next_ms is not None:
            waits.append((sent + 1) / self._plan.rate - passed_s)
        return max(min(waits), 0.001)

    async def _do(self, user_id: str, what: object, *, now_ms: int) -> None:
        life = self._lives[user_id]
        match what:
            case Act(kind="look"):
                standing = self.heard.standing(self._pseudonyms[user_id])
                if standing is not None:
                    decision, tip = standing
                    read(life, decision, tip)
                    visit = look(life, decision, self.tally, start_ms=self._start_ms, now_ms=now_ms)
                    if visit is not None:
                        await self._visited(user_id, visit, now_ms=now_ms)
            case Act():
                event_id = f"{self._plan.run}/{what.kind}{what.index}"
                signal = life.signal(what, event_id=event_id, offset_ms=clock_ms() - what.time_ms)
                if signal is not None:
                    await self._send("signals", user_id, signal, headers(signal, event_source=f"simulate/{user_id}"))
                    self.tally.signals += 1
            case reaction_pb2.Reaction():
                await self._react(user_id, what)
                self.tally.reactions += 1

    async def _visited(self, user_id: str, visit: Visit, *, now_ms: int) -> None:
        await self._react(user_id, visit.seen)
        if visit.reaction is not None:
            self._agenda.add(now_ms + visit.delay_ms, user_id, visit.reaction)
        if visit.later is not None:
            self._agenda.add(visit.later.time_ms, user_id, visit.later)

    async def _react(self, user_id: str, reaction: reaction_pb2.Reaction) -> None:
        reaction.event_id = f"{reaction.decision_id}/{reaction.kind}"
        reaction.event_time.CopyFrom(from_ms(clock_ms()))
        await self._send("reactions", user_id, reaction, [])

    async def _send(self, name: str, user_id: str, message: Message, said: list[tuple[str, bytes]]) -> None:
        await self._producer.room()
        value = self._schemas.frame(name, message)
        self._producer.produce(self._topics[name].name, key=user_id.encode(), value=value, headers=said)

    async def _from_the_end(self, name: str) -> Follower:
        topic = self._topics[name].name
        follower = Follower(self._cluster, topic)
        for partition, end in (await end_offsets(self._cluster, topic)).items():
            follower.add(partition, start=end)
        return follower

    async def _follow(self, name: str, follower: Follower) -> None:
        """Hears what is said of our own people, for ever."""
        ours = set(self._pseudonyms.values())
        async for records in follower:
            for record in records:
                if record.value is not None and (record.key or b"").decode() in ours:
                    message = self._schemas.unframe(name, record.value)
                    self.heard.hear(await opened_by(self._keys, message, whose=record.key or b""))

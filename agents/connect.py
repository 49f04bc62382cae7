"""Connect: reads what people have connected when it is due, and hears what they have done, withdrawn and erased.

Any number of these run: PostgreSQL decides which reads what (connectors/postgres/leases.py). It folds nothing and opens no row; what a
turn does stands in agents/turn.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

import faust
from faust.types import StreamT

from agents.refuse import DeadLetters, Refusal
from agents.turn import TOLD_WITHIN_MS, Turns
from connectors.postgres.leases import Holder, Leased, Leases, Unreachable
from connectors.vault import Box, NotOpened, Vault, Wrapped
from oo.v1.outcome_pb2 import Outcome
from oo.v1.settings_pb2 import Settings
from oo.v1.signal_pb2 import Signal
from streams.backoff import PATIENT
from streams.frames import Frames
from streams.keys import KekGone, Keys, opened_by
from streams.metrics import GAUGES
from streams.partitions import Partitions
from streams.producer import Producer
from streams.record import Batch
from streams.retry import until_done
from streams.sealing import KeyMissing
from streams.sealing import NotOpened as NotSealedSo
from streams.topics import Topic
from streams.units import DAY_MS, SECOND_MS
from streams.wire import BadFrame
from tables import leavers

logger = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Turns of one worker at a time."""
IDLE_S: Final = 5.0
"""The longest between two looks at what is due: whoever wants one at once says so."""
STUCK_S: Final = 1.0
"""Between two looks where something is due that nobody may read now."""
_DONE: Final = re.compile(r"^task:(?P<source>[^:/]+):(?P<connection>[^/]+)/(?P<item>.+)$", re.DOTALL)


class Sender:
    """Puts signals onto their public topic, each acknowledged."""

    def __init__(self, producer: Producer, schemas: Frames, *, topic: str) -> None:
        self._producer = producer
        self._schemas = schemas
        self._topic = topic

    async def send(self, signals: Sequence[Signal]) -> None:
        """In their order; returns once Kafka has all. Raises DeliveryFailed, after which this process ends."""
        await self._producer.room()
        # Without headers: an event's id may hold words of a person's, and stands in the signal.
        sent = [
            self._producer.produce(self._topic, key=one.user_id.encode(), value=self._schemas.frame("signals", one))
            for one in signals
        ]
        await asyncio.gather(*sent)


class Wheel:
    """Takes what is due, as long as it runs."""

    def __init__(self, leases: Leases, turns: Turns, *, at_once: int = AT_ONCE) -> None:
        self._leases = leases
        self._turns = turns
        self._at_once = at_once
        self._held: dict[str, float] = {}
        """Services that asked for patience, until when by the loop's clock."""
        self._stirred = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._suspect: asyncio.Task[None] | None = None
        """The turn of a connection over which a worker died: one at a time."""
        GAUGES["oo_connections_in_work"] = lambda: {(): float(len(self._running))}

    async def run(self) -> None:
        """Until cancelled; raises what ends the process. Turns that run then are cut, and their leases given back."""
        listening = asyncio.create_task(self._listen(), name="connections-heard")
        failures = 0
        try:
            while True:
                for task in [task for task in self._running if task.done()]:
                    self._running.discard(task)
                    task.result()
                self._stirred.clear()
                try:
                    wait_s = await self._round()
                    failures = 0
                except Unreachable as error:
                    failures += 1
                    logger.warning("connections.postgres_away error=%s", type(error).__name__)
                    wait_s = PATIENT.pause_s(failures)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stirred.wait(), wait_s)
        finally:
            listening.cancel()
            for task in self._running:
                task.cancel()
            await asyncio.gather(listening, *self._running, return_exceptions=True)

    async def _round(self) -> float:
        """Begin what is due and fits; returns how long nothing more can be."""
        now_s = asyncio.get_running_loop().time()
        self._held = {service: until_s for service, until_s in self._held.items() if until_s > now_s}
        room = self._at_once - len(self._running)
        if room <= 0:
            return IDLE_S
        suspected = self._suspect is None or self._suspect.done()
        found = await self._leases.claim(
            limit=room, lease_ms=self._turns.lease_ms, held=self._held, suspected=suspected
        )
        for leased in found:
            task = asyncio.create_task(self._turn(leased), name=f"connection-{leased.connection_id}")
            task.add_done_callback(lambda _: self._stirred.set())
            self._running.add(task)
            self._suspect = task if leased.died else self._suspect
        if found:
            return 0.0 if len(found) == room else IDLE_S
        wait_ms = await self._leases.wait_ms(most_ms=round(IDLE_S * SECOND_MS))
        return wait_ms / SECOND_MS or STUCK_S

    async def _turn(self, leased: Leased) -> None:
        ended = await self._turns.take(leased)
        if ended.held_ms:
            until_s = asyncio.get_running_loop().time() + ended.held_ms / SECOND_MS
            self._held[leased.service] = max(until_s, self._held.get(leased.service, 0.0))

    async def _listen(self) -> None:
        async def hear() -> None:
            async for _ in self._leases.heard():
                self._stirred.set()

        while True:
            await until_done(hear, on=Unreachable, what="postgres")


class Ears:
    """Takes in what the log says that concerns connections."""

    def __init__(
        self,
        *,
        leases: Leases,
        vault: Vault,
        schemas: Frames,
        keys: Keys,
        dead_letters: DeadLetters,
        sources: Collection[str],
        clock_ms: Callable[[], int],
    ) -> None:
        self._leases = leases
        self._vault = vault
        self._schemas = schemas
        self._keys = keys
        self._dead_letters = dead_letters
        self._sources = sources
        self._clock_ms = clock_ms

    async def on_outcomes(self, batches: Sequence[Batch]) -> None:
        """Have each task's source told that it is done; returns once PostgreSQL knows of it."""
        for message in await self._opened("outcomes", batches):
            assert isinstance(message, Outcome)
            if message.kind == Outcome.DONE and (found := _DONE.match(message.candidate)):
                await until_done(partial(self._done, message, found), on=Unreachable, what="postgres")

    async def _done(self, said: Outcome, found: re.Match[str]) -> None:
        holder = await self._leases.holder(found["connection"])
        stale = said.event_time_ms < self._clock_ms() - TOLD_WITHIN_MS
        if holder is None or holder.user_id != said.user_id or stale or said.event_time_ms < holder.created_ms - DAY_MS:
            return
        if (box := self._box(holder)) is None:
            return
        await self._leases.was_done(
            outcome_id=said.outcome_id,
            connection_id=holder.connection_id,
            user_id=holder.user_id,
            decision_id=said.decision_id,
            item=box.seal("item", found["item"].encode()),
            done_ms=said.event_time_ms,
        )

    async def on_settings(self, batches: Sequence[Batch]) -> None:
        """Keep which sources are withheld, and where people live whose sources are read."""
        for message in await self._opened("settings", batches):
            assert isinstance(message, Settings)
            await until_done(partial(self._told, message), on=Unreachable, what="postgres")

    async def _told(self, said: Settings) -> None:
        withheld = [one.source for one in said.consents if one.source and not one.granted]
        await self._leases.withhold(
            said.user_id,
            topic_id=said.journal.topic_id,
            journal_offset=said.journal.offset,
            told_ms=said.told_ms,
            sources=[one for one in withheld if one.partition(":")[0] in self._sources],
        )
        for holder in await self._leases.of([said.user_id]) if said.time_zone else []:
            if (box := self._box(holder)) is not None:
                await self._leases.move(holder.connection_id, zone=box.seal("zone", said.time_zone.encode()))

    async def on_erasures(self, batches: Sequence[Batch]) -> None:
        """Delete all that is of who left; returns once PostgreSQL has."""
        records = chain.from_iterable(batch.records for batch in batches)
        words = [word for record in records if (word := leavers.read(self._schemas, record)) is not None]
        if words:
            await until_done(lambda: self._leases.forget(words), on=Unreachable, what="postgres")

    def _box(self, holder: Holder) -> Box | None:
        try:
            return self._vault.open(
                Wrapped(holder.kek_id, holder.wrapped_key), user_id=holder.user_id, connection_id=holder.connection_id
            )
        except (NotOpened, KekGone):
            return None

    async def _opened(self, name: str, batches: Sequence[Batch]) -> list[Any]:
        """What can be opened; of who left nothing can, and what nobody of ours wrote becomes a dead letter."""
        found: list[Any] = []
        refusals: list[Refusal] = []
        for record in chain.from_iterable(batch.records for batch in batches):
            try:
                message = self._schemas.unframe(name, record.value)
                found.append(await opened_by(self._keys, message, whose=record.key or b""))
            except KeyMissing:
                continue
            except (BadFrame, NotSealedSo) as bad:
                refusals.append(Refusal(record, bad.reason, bad.detail))
        await self._dead_letters.refuse(refusals)
        return found


def build(app: faust.App, ears: Ears, *, topics: Mapping[str, Topic]) -> list[Partitions]:
    """Declare the agents on `app`; returns their streams."""
    # A batch may wait for PostgreSQL as long as it takes: that is no stall.
    handlers = {"outcomes": ears.on_outcomes, "settings": ears.on_settings, "erasures": ears.on_erasures}
    streams = {
        name: Partitions(app, topics[name].name, handle, stalled_after_s=math.inf) for name, handle in handlers.items()
    }

    @app.agent(app.topic(topics["outcomes"].name), name="connect-outcomes")
    async def connect_outcomes(stream: StreamT[Any]) -> None:
        await streams["outcomes"].run(stream)

    @app.agent(app.topic(topics["settings"].name), name="connect-settings")
    async def connect_settings(stream: StreamT[Any]) -> None:
        await streams["settings"].run(stream)

    @app.agent(app.topic(topics["erasures"].name), name="connect-erasures")
    async def connect_erasures(stream: StreamT[Any]) -> None:
        await streams["erasures"].run(stream)

    return list(streams.values())

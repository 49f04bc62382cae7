"""Notify: tells people of a tip while they do not look, on the devices that they named; each device once.

What is to be told stands in PostgreSQL before anything is sent, so does that it is being sent, and what came of it: whenever this
process is killed, the next one knows what may have gone out, and that is not sent again where the provider could tell the person twice.
Before it sends it reads its partition to the end: what was taken back meanwhile, or ran out, is not sent, however long all was away.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, cast

import faust
from faust.types import StreamT
from joserfc.jwk import ECKey

from agents import telling
from agents.breaker import Breaker
from agents.fault import where
from agents.refuse import DeadLetters, Refusal
from agents.telling import Later, Never, Person
from connectors import valkey
from connectors.channels import texts, words
from connectors.channels.channel import Asks, Channel, Notice, NotSent, Unsure
from connectors.channels.registry import CHANNELS
from connectors.postgres.notifier import Known, Line, Notifier, Standing, State, Told, Unreachable
from connectors.valkey import TipStore
from oo.v1.decision_pb2 import Delivery
from oo.v1.device_pb2 import Device
from oo.v1.journal_pb2 import Position
from oo.v1.settings_pb2 import Settings
from streams import metrics
from streams.frames import Frames
from streams.keys import Keys, opened_by
from streams.partitions import Partitions
from streams.periodic import every
from streams.record import Batch, Record
from streams.retry import until_done
from streams.sealing import KeyMissing, NotOpened
from streams.shared import Shared
from streams.topics import Topic
from streams.units import DAY_MS, SECOND_MS
from streams.wire import BadFrame
from tables import consents, leavers
from tables.leavers import Leaving

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
PEOPLE_MAX = 64
"""Who are told at the same time."""
AT_ONCE = 8
"""Of one channel."""
KEPT_DAYS = 90
"""How old a line of a person's log gets."""
TRIMMED_EVERY_S = 3600.0
FAILED_MS = 60 * SECOND_MS
"""After a mistake of ours."""
AWAY_MS = 5 * SECOND_MS
"""When is looked again at what could not be judged, since Valkey was away."""
UNSUBSCRIBE_DAYS = 365
CONFIRM_DAYS = 3
_CHANCE = random.SystemRandom()


@dataclass(slots=True, eq=False)
class _Desk:
    """One partition's life here."""

    number: int
    read_to: int
    """Offset below which all words stand in PostgreSQL."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    look: Shared[None] = field(init=False)
    """Has all stand there that stands in the partition now."""
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """Who is being told."""


class Notify:
    """The agent over its assigned partitions of deliveries."""

    def __init__(
        self,
        *,
        journal_id: bytes,
        frames: Frames,
        keys: Keys,
        store: Notifier,
        tips: TipStore,
        channels: Mapping[str, Channel],
        word_key: ECKey,
        public_url: str,
        dead_letters: DeadLetters,
        leaving: Leaving,
        ends: Callable[[], Awaitable[Mapping[int, int]]],
        committed: Callable[[int], Awaitable[int]],
        read: Callable[[int, int], AsyncIterator[list[Record]]],
        clock_ms: Callable[[], int],
    ) -> None:
        """`ends()`: where each partition ends now; `committed(partition)`: the group's offset there; `read(partition, start)`: from
        there to its end now.
        """
        self._journal_id = journal_id
        self._frames = frames
        self._keys = keys
        self._store = store
        self._tips = tips
        self._channels = channels
        self._word_key = word_key
        self._public_url = public_url
        self._dead_letters = dead_letters
        self._leaving = leaving
        self._ends = ends
        self._committed = committed
        self._read = read
        self._clock_ms = clock_ms
        self._desks: dict[int, _Desk] = {}
        self._rooms = {name: asyncio.Semaphore(AT_ONCE) for name in channels}
        self._breakers = {name: Breaker() for name in channels if CHANNELS[name].one_server}
        self._stirred = asyncio.Event()
        self.stopping: Callable[[], bool] = lambda: False
        """Whether partitions are about to go: nothing begins that would be cut."""

    async def assign(self, partitions: set[int]) -> None:
        """Take partitions over."""
        for number in partitions:
            desk = _Desk(number, await self._committed(number))
            desk.look = Shared(partial(self._look, desk))
            self._desks[number] = desk
        self._stirred.set()

    async def revoke(self, partitions: set[int]) -> None:
        """Give partitions back: nothing of theirs goes out from here when this returns."""
        tasks = [task for number in partitions & self._desks.keys() for task in self._desks.pop(number).tasks.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def handle(self, batches: Sequence[Batch]) -> None:
        """Return once PostgreSQL has what stands to be told."""
        refusals: list[Refusal] = []
        for batch in batches:
            await self._take(self._desks[batch.partition], batch.records, refusals)
        await self._dead_letters.refuse(refusals)

    async def forget(self, batches: Sequence[Batch]) -> None:
        """Return once nothing of those who left is in PostgreSQL."""
        records = chain.from_iterable(batch.records for batch in batches)
        said = [(word, one.timestamp_ms) for one in records if (word := leavers.read(self._frames, one)) is not None]
        if said:
            await until_done(lambda: self._store.forget(said), on=Unreachable, what="postgres")

    async def run(self) -> None:
        """Tell people, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._stirred.wait()
            self._stirred.clear()
            try:
                await self._turn()
            except Unreachable as error:
                logger.info("due.unknown why=%s", type(error).__name__)

    async def ask(self) -> None:
        """Ask owners of new addresses, for ever; beside telling people: a mail server may be slow."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._ask()
            except Unreachable as error:
                logger.info("owners.unknown why=%s", type(error).__name__)

    async def trim(self) -> None:
        """Forget lines that are old; what PostgreSQL does not do now it does at the next turn."""
        with contextlib.suppress(*Unreachable):
            await self._store.trim(below_ms=self._clock_ms() - KEPT_DAYS * DAY_MS)

    async def _turn(self) -> None:
        busy = sum(len(desk.tasks) for desk in self._desks.values())
        if self.stopping() or not self._desks or busy >= PEOPLE_MAX:
            return
        found = await self._store.due(self._journal_id, self._desks, now_ms=self._clock_ms(), limit=PEOPLE_MAX + busy)
        for user_id, number in found:
            desk = self._desks.get(number)
            if desk is None or user_id in desk.tasks or self.stopping():
                continue
            task = asyncio.create_task(self._tell(desk, user_id), name=f"tell-{number}")
            desk.tasks[user_id] = task
            task.add_done_callback(partial(self._told, desk, user_id))

    async def _ask(self) -> None:
        """Ask owners of new addresses whether they are theirs, each once."""
        if not self._desks or self.stopping():
            return
        asked = await self._store.ask(now_ms=self._clock_ms(), limit=AT_ONCE)
        await asyncio.gather(*map(self._ask_one, asked))

    async def _ask_one(self, device: Known) -> None:
        channel, until_ms = self._channels.get(device.channel), self._clock_ms() + CONFIRM_DAYS * DAY_MS
        asks = cast("Asks | None", channel)
        if asks is None or self._shut_ms(device.channel):
            await self._store.ask_again(device.device_id)
            return
        word = words.word("confirm", device.device_id, key=self._word_key, until_ms=until_ms)
        try:
            to = await opened_by(self._keys, Device.FromString(device.message), whose=device.user_id.encode())
            await asks.ask(to, f"{self._public_url}/v1/devices/confirm?word={word}")
        except (KeyMissing, NotOpened, Unsure):
            return
        except NotSent as failed:
            metrics.NOTIFICATIONS[device.channel, failed.reason] += 1
            if failed.again_s is not None:
                self._breakers[device.channel].ended(well=False, now_ms=self._clock_ms())
                await self._store.ask_again(device.device_id)
        except Unreachable:
            raise
        except Exception as error:  # noqa: BLE001 - one odd address must not stop the others; its text may hold it
            logger.warning("ask.failed error=%s at=%s", type(error).__name__, where(error))
        else:
            metrics.NOTIFICATIONS[device.channel, "asked"] += 1

    def _told(self, desk: _Desk, user_id: str, task: asyncio.Task[None]) -> None:
        desk.tasks.pop(user_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Their turn comes again: what they have to be told stands as it stood.
            logger.warning("tell.failed error=%s at=%s", type(error).__name__, where(error))

    async def _look(self, desk: _Desk) -> None:
        if (await self._ends())[desk.number] > desk.read_to:
            async for records in self._read(desk.number, desk.read_to):
                # What is none becomes a dead letter where the consumer group passes it.
                await self._take(desk, records, [])

    async def _take(self, desk: _Desk, records: Sequence[Record], refusals: list[Refusal]) -> None:
        """Have these words stand in PostgreSQL, but those that do."""
        async with desk.turn:
            found: list[Standing] = []
            for record in records:
                try:
                    found += self._standing(record)
                except BadFrame as bad:
                    refusals.append(Refusal(record, bad.reason, bad.detail))
            if records[-1].offset < desk.read_to:
                return
            if found:
                await until_done(lambda: self._store.take(found), on=Unreachable, what="postgres")
            desk.read_to = records[-1].offset + 1
        self._stirred.set()

    def _standing(self, record: Record) -> list[Standing]:
        """The word of a record, as it stands there; none of another journal. Raises BadFrame."""
        if record.value is None or record.key is None:
            raise BadFrame("no-frame", "a delivery has a person and a value")
        delivery = self._frames.unframe("deliveries", record.value)
        assert isinstance(delivery, Delivery), "one message type stands on this topic"
        place, user_id = delivery.journal, record.key.decode(errors="replace")
        if place.topic_id != self._journal_id or self._leaving.leavers.are_of_before(user_id, place):
            return []
        says = bool(delivery.sealed) or delivery.HasField("tip")
        due_ms, message = (self._clock_ms(), delivery.SerializeToString(deterministic=True)) if says else (None, b"")
        return [Standing(user_id, place.topic_id, record.partition, place.offset, due_ms, message)]

    async def _tell(self, desk: _Desk, user_id: str) -> None:
        """See to what stands for one person, as far as it can be now."""
        await desk.look()
        it = await self._store.standing(user_id)
        if it is None or it.due_ms is None or it.due_ms > self._clock_ms():
            return
        delivery, devices = await self._opened(it), await self._store.devices(user_id)
        due: list[int | None] = []
        if delivery is not None and devices:
            try:
                person = await self._person(it, delivery)
            except valkey.Unreachable as error:
                logger.warning("person.unknown error=%s", type(error).__name__)
                await self._store.put_off(it, due_ms=self._clock_ms() + AWAY_MS)
                return
            decision_id, since_ms = delivery.tip.decision_id, self._clock_ms() - DAY_MS
            lines = await self._store.lines(user_id, decision_id)
            told = await self._store.told(user_id, since_ms=since_ms, but=decision_id)
            found = await asyncio.gather(
                *(self._tell_one(it, delivery, one, person, lines.get(one.device_id), told) for one in devices),
                return_exceptions=True,
            )
            due = [one for one in found if not isinstance(one, BaseException)]
            for failed in found:
                if isinstance(failed, BaseException):
                    # Others' turns come before theirs comes again.
                    if not isinstance(failed, asyncio.CancelledError):
                        await self._store.put_off(it, due_ms=self._clock_ms() + FAILED_MS)
                    raise failed
        await self._store.put_off(it, due_ms=min((at_ms for at_ms in due if at_ms is not None), default=None))

    async def _tell_one(
        self, it: Standing, delivery: Delivery, device: Known, person: Person, line: Line | None, told: Told
    ) -> int | None:
        """Tell one device; returns when to look again, None where all is said of this tip."""
        if line is not None and line.state not in ("waiting", "sending"):
            return None
        kind, now_ms = CHANNELS.get(device.channel), self._clock_ms()
        delivery_id = id_of(delivery.tip.decision_id, device.device_id)
        leave = partial(
            self._store.leave,
            it,
            delivery_id=delivery_id,
            decision_id=delivery.tip.decision_id,
            device_id=device.device_id,
            now_ms=now_ms,
        )
        if kind is None or device.channel not in self._channels:
            await leave(reason="no-channel")
            return None
        if line is not None and line.state == "sending" and not kind.repeats:
            await leave(reason="cut-off")
            return None
        if kind.confirmed and device.confirmed_ms is None:
            await leave(reason="unconfirmed")
            return None
        verdict = telling.judged(
            person,
            purpose=kind.purpose,
            told=told.tips,
            runs_out_ms=delivery.runs_out_ms,
            now_ms=now_ms,
            again_ms=max(0 if line is None or line.again_ms is None else line.again_ms, self._shut_ms(device.channel)),
            last_ms=told.last_ms.get(device.device_id),
            apart_ms=kind.apart_ms,
        )
        if isinstance(verdict, Later):
            return verdict.at_ms
        if isinstance(verdict, Never):
            metrics.NOTIFICATIONS[device.channel, verdict.why] += 1
            await leave(reason=verdict.why)
            return None
        async with self._rooms[device.channel]:
            return await self._send(it, delivery, device, delivery_id)

    async def _send(self, it: Standing, delivery: Delivery, device: Known, delivery_id: str) -> int | None:
        """Claim, send, mark; returns when to try again."""
        try:
            to = await opened_by(self._keys, Device.FromString(device.message), whose=it.user_id.encode())
        except (KeyMissing, NotOpened) as error:
            logger.warning("device.not_opened why=%s", error)
            return None
        claim = uuid.uuid4().hex
        taken = await self._store.claim(
            it,
            delivery_id=delivery_id,
            decision_id=delivery.tip.decision_id,
            device_id=device.device_id,
            claim=claim,
            repeats=CHANNELS[device.channel].repeats,
            now_ms=self._clock_ms(),
        )
        if not taken:
            return None
        breaker = self._breakers.get(device.channel)
        try:
            await self._channels[device.channel].send(to, self._notice(delivery, device, delivery_id))
        except NotSent as failed:
            # Those that were under way when it shut say nothing new.
            if breaker is not None and not (breaker.shut and self._clock_ms() < breaker.again_ms):
                breaker.ended(well=failed.reason != "unreachable", now_ms=self._clock_ms())
            metrics.NOTIFICATIONS[device.channel, failed.reason] += 1
            return await self._not_sent(delivery, device, delivery_id, claim, failed)
        except Unsure:
            metrics.NOTIFICATIONS[device.channel, "unsure"] += 1
            return await self._unsure(delivery, device, delivery_id, claim)
        if breaker is not None:
            breaker.ended(well=True, now_ms=self._clock_ms())
        await self._until_done(lambda: self._store.mark_sent(delivery_id, now_ms=self._clock_ms()))
        metrics.NOTIFICATIONS[device.channel, "sent"] += 1
        return None

    async def _not_sent(
        self, delivery: Delivery, device: Known, delivery_id: str, claim: str, failed: NotSent
    ) -> int | None:
        if failed.gone:
            await self._until_done(lambda: self._store.remove(device.device_id))
        if failed.again_s is None:
            await self._mark(delivery_id, claim, "failed", failed.reason)
            return None
        return await self._again(delivery, delivery_id, claim, failed.reason, failed.again_s)

    async def _unsure(self, delivery: Delivery, device: Known, delivery_id: str, claim: str) -> int | None:
        if CHANNELS[device.channel].repeats:
            return await self._again(delivery, delivery_id, claim, "no-answer", 0.0)
        await self._mark(delivery_id, claim, "unknown", "no-answer")
        return None

    async def _again(self, delivery: Delivery, delivery_id: str, claim: str, reason: str, again_s: float) -> int | None:
        """Have it go out later, where that is of any use."""
        line = await self._store.line(delivery_id)
        pause_ms = telling.retry_ms(1 if line is None else line.attempts, draw=_CHANCE.random())
        again_ms = self._clock_ms() + max(pause_ms, round(again_s * SECOND_MS))
        if again_ms >= delivery.runs_out_ms:
            await self._mark(delivery_id, claim, "failed", reason)
            return None
        await self._mark(delivery_id, claim, "waiting", reason, again_ms=again_ms)
        return again_ms

    async def _mark(
        self, delivery_id: str, claim: str, state: State, reason: str, *, again_ms: int | None = None
    ) -> None:
        await self._until_done(
            lambda: self._store.mark(
                delivery_id, claim=claim, state=state, reason=reason, now_ms=self._clock_ms(), again_ms=again_ms
            )
        )

    async def _until_done(self, work: Callable[[], Awaitable[object]]) -> None:
        """What was sent is known here alone until PostgreSQL has it: nobody else could tell."""
        await until_done(work, on=Unreachable, what="postgres")

    async def _opened(self, it: Standing) -> Delivery | None:
        """What stands; None where nobody is to be told of it any more."""
        place = Position(topic_id=it.topic_id, partition=it.partition, offset=it.journal_offset)
        if self._leaving.leavers.are_of_before(it.user_id, place):
            return None
        try:
            return await opened_by(self._keys, Delivery.FromString(it.message), whose=it.user_id.encode())
        except (KeyMissing, NotOpened) as error:
            logger.warning("delivery.not_opened partition=%d why=%s", it.partition, error)
            return None

    async def _person(self, it: Standing, delivery: Delivery) -> Person:
        """As they have it now. Raises Valkey's Unreachable."""
        kept, standing = await self._tips.settings(it.user_id), await self._tips.read(it.user_id)
        said = Settings()
        if kept is not None:
            with contextlib.suppress(KeyMissing, NotOpened):
                said = await opened_by(self._keys, kept, whose=it.user_id.encode())
        decision_id = delivery.tip.decision_id
        return Person(
            purposes=frozenset(one for one in delivery.purposes if consents.grants(said.consents, one)),
            quiet=said.profile.quiet_hours,
            time_zone=said.time_zone,
            here=await self._tips.is_here(it.user_id),
            answered=standing is not None and standing.spent and standing.tip.decision_id == decision_id,
            cap=said.profile.notifications_per_day or telling.CAP_DAY,
        )

    def _notice(self, delivery: Delivery, device: Known, delivery_id: str) -> Notice:
        tip, now_ms = delivery.tip, self._clock_ms()
        language = texts.language(delivery.languages)
        said = texts.in_words(tip, language)
        unsubscribe = words.word(
            "unsubscribe", device.device_id, key=self._word_key, until_ms=now_ms + UNSUBSCRIBE_DAYS * DAY_MS
        )
        return Notice(
            delivery_id=delivery_id,
            decision_id=tip.decision_id,
            title=said.title,
            detail=said.detail,
            why=said.why,
            language=language,
            url=f"{self._public_url}/",
            reaction_token=words.word("react", delivery_id, key=self._word_key, until_ms=delivery.runs_out_ms),
            unsubscribe_url=f"{self._public_url}/v1/deliveries/unsubscribe?word={unsubscribe}",
            left_s=max(0, (delivery.runs_out_ms - now_ms) // SECOND_MS),
        )

    def _shut_ms(self, channel: str) -> int:
        """Until when a server that does not answer is left alone."""
        breaker = self._breakers.get(channel)
        return 0 if breaker is None or breaker.lets(now_ms=self._clock_ms()) else breaker.again_ms


def id_of(decision_id: str, device_id: str) -> str:
    """Return the name of a tip on a device: the same each time, 32 characters that a Topic may have (RFC 8030). Both names are made under secrets.

    >>> id_of("d1", "a") == id_of("d1", "a") != id_of("d1", "b"), len(id_of("d1", "a"))
    (True, 32)
    """
    return hashlib.blake2b(f"{decision_id}\0{device_id}".encode(), digest_size=16).hexdigest()


def build(app: faust.App, notify: Notify, *, topics: Mapping[str, Topic]) -> list[Partitions]:
    """Declare the agents on `app`; the streams returned are for health and lag."""
    # A batch may wait for PostgreSQL as long as it takes: that is no stall.
    deliveries = Partitions(
        app,
        topics["deliveries"].name,
        notify.handle,
        on_assigned=notify.assign,
        on_revoked=notify.revoke,
        stalled_after_s=math.inf,
    )
    notify.stopping = lambda: deliveries.draining
    erasures = Partitions(app, topics["erasures"].name, notify.forget, stalled_after_s=math.inf)

    @app.agent(app.topic(topics["deliveries"].name), name="notify-deliveries")
    async def run(stream: StreamT[Any]) -> None:
        await deliveries.run(stream)

    @app.agent(app.topic(topics["erasures"].name), name="notify-erasures")
    async def forget(stream: StreamT[Any]) -> None:
        await erasures.run(stream)

    app.task(notify.run)
    app.task(notify.ask)
    every(app, TRIMMED_EVERY_S, notify.trim)
    return [deliveries, erasures]

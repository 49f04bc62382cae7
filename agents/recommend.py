"""Recommend: folds journal partitions into rows, and sends out the tips, decisions and outcomes that follow.

The order of a round, which makes a kill at any moment harmless: outputs acknowledged, then rows acknowledged, then its
batches (agents/settling.py). A tip is sent where it is decided. It never decides anything itself (agents.step does) and
never calls anything but Kafka.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import faust
from faust.types import StreamT

from agents import erasure, set_aside
from agents.admit import YIELD_S
from agents.assigned import AHEAD_MS, Assigned
from agents.fault import ours
from agents.fold import entry_of
from agents.in_hand import InHand
from agents.recovery import Recovery
from agents.refuse import DeadLetters, Refusal
from agents.settling import Settling
from agents.step import STEP_VERSION, Entry, Outputs
from agents.versions import Versions
from connectors.spans import Work
from connectors.traces import Traces
from oo.v1 import decision_pb2, journal_pb2, signal_pb2
from streams import heartbeat
from streams.clock import clock_ms
from streams.day_keys import of_day
from streams.dead_letters import SAID_AT, SAID_ON, named
from streams.frames import Frames
from streams.key_maker import KeyMaker
from streams.keys import Keys
from streams.metrics import DECISIONS, FOLDED
from streams.partitions import Partitions
from streams.periodic import every
from streams.producer import Producer
from streams.reader import Follower
from streams.record import Batch, Record
from streams.sealing import KeyMissing, NotOpened, Sealing, stays_open
from streams.topics import ENTRANCES, Topic
from streams.traceparent import HEADER
from streams.units import SECOND_MS
from streams.wire import BadFrame
from tables import ids
from tables.leavers import Leavers
from tables.message_rules import FromOutside

logger = logging.getLogger(__name__)

TICKS_EVERY_S = 0.2
TICKS_MAX = 50
"""Per partition and turn: a great many rows that wake at once are spread, and never crowd out signals."""
TICK_LAG_MAX = 200
"""Ticks are sent only while the partition is nearly up to date: less than about a second of work behind."""
COMMITS_EVERY_S = 60.0
WRITER = "recommend/1"
KINDS = {number: name for name, number in decision_pb2.Decision.TipKind.items()}
TRIGGERS = {number: name for name, number in decision_pb2.Decision.Trigger.items()}


class Recommend:
    """The agent over its assigned journal partitions."""

    def __init__(
        self,
        *,
        topics: dict[str, Topic],
        journal_id: bytes,
        schemas: Frames,
        sealing: Sealing,
        keys: Keys,
        maker: KeyMaker,
        producer: Producer,
        dead_letters: DeadLetters,
        versions: Versions,
        recovery: Recovery,
        rows_follower: Follower,
        in_hand: InHand,
        leavers: Leavers,
        worker_id: str,
        traces: Traces | None = None,
    ) -> None:
        """`leavers`: known to their end whenever a partition has been recovered. `traces`: None where nothing is traced."""
        self._topics = topics
        self._journal_id = journal_id
        self._schemas = schemas
        self._sealing = sealing
        self._keys = keys
        self._maker = maker
        self._producer = producer
        self._dead_letters = dead_letters
        self._versions = versions
        self._recovery = recovery
        self._rows_follower = rows_follower
        self._in_hand = in_hand
        self._leavers = leavers
        self._worker_id = worker_id
        self._traces = traces
        self._settling = Settling(
            topics=topics,
            schemas=schemas,
            sealing=sealing,
            producer=producer,
            dead_letters=dead_letters,
            end_keys=self._end_keys,
        )
        self._assigned: dict[int, Assigned] = {}

    @property
    def assigned(self) -> Mapping[int, Assigned]:
        """The partitions that are here, by number."""
        return self._assigned

    async def assign(self, partitions: set[int]) -> None:
        """Bring the rows of partitions that came here up to their changelog; returns when they can be folded on."""
        for number in sorted(partitions):
            self._assigned[number], end = await self._recovery.recover(number)
            self._rows_follower.add(number, start=end)

    async def revoke(self, partitions: set[int]) -> None:
        """Give back partitions that went elsewhere; their disks stay, for the case that they come again."""
        for number in partitions:
            self._rows_follower.remove(number)
            assigned = self._assigned.pop(number, None)
            if assigned is not None:
                assigned.close()

    def before(self, batch: Batch) -> Awaitable[None] | None:
        """Versions that this batch's marks name: it waits for them, and the other partitions go on."""
        marks = [record for record in batch.records if not record.key]
        return self._versions_of(marks) if marks else None

    async def _versions_of(self, marks: Sequence[Record]) -> None:
        for record in marks:
            with contextlib.suppress(BadFrame):
                # A mark is nobody's, so it is not sealed.
                journal = self._schemas.unframe("journal", record.value)
                assert isinstance(journal, journal_pb2.JournalRecord)
                if journal.HasField("mark"):
                    await self._versions.wait_for(journal.mark.version_id)

    async def handle(self, batches: Sequence[Batch]) -> asyncio.Future[None]:
        """Fold one round and send its tips; what it returns is done when outputs and then rows are acknowledged."""
        await self._settling.room()
        assert batches, "a round is of something"
        for batch in batches:
            assigned = self._assigned[batch.partition]
            FOLDED[str(batch.partition),] += len(batch.records)
            await self._fold(assigned, batch.records)
            settled = self._settling.folded(assigned, len(batch.records))
        return settled

    async def _fold(self, assigned: Assigned, records: Sequence[Record]) -> None:
        """Between a record's step and the last of its outputs nothing is awaited: a round is cut between two records."""
        loop = asyncio.get_running_loop()
        turn_s = loop.time()
        for record in records:
            if assigned.aside.passes(record) or self._leavers.passes(record.key, record.offset):
                continue
            # A mark is nobody's record: without it the partition would go on with another version than it was told.
            if record.key and (ends := self._in_hand.ends(self._journal_id, record)):
                await self._set_aside(assigned, record, ends)
                continue
            await self._producer.room()
            if self._needs_key(assigned, record):
                await self._keys_of(assigned, records)
            with self._in_hand.holding(self._journal_id, record):
                try:
                    entry = await self._entry(record)
                except (BadFrame, UnicodeDecodeError) as bad:
                    # Only a stranger's hand writes such a thing into the journal; it must not stop the others.
                    self._settling.refuse([Refusal(record, "not-journal", type(bad).__name__, whose=record.key or b"")])
                    continue
                if entry.record.HasField("mark"):
                    self._in_hand.lay_down()
                    await self._versions.wait_for(entry.record.mark.version_id)
                if entry.record.subject_request.consent_changed.granted and record.key:
                    await self._key_of_who_comes_back(assigned, record.key)
                work = self._begun(entry)
                outputs = await self._apply(assigned, entry)
            assigned.folding = record.offset
            if (
                outputs.tip
                or outputs.outcomes
                or outputs.overflows
                or outputs.settings
                or outputs.request
                or outputs.delivery
            ):
                self._send(assigned, outputs, user_id=entry.user_id, work=work)
                self._settling.refuse(self._overflows(outputs, entry, record))
            if outputs.fault:
                logger.error(
                    "step.failed partition=%d offset=%d fault=%s", record.partition, record.offset, outputs.fault
                )
                self._settling.refuse([self._faulty(entry, record, outputs.fault)])
            if work is not None:
                self._ended(work, outputs)
            if loop.time() - turn_s > YIELD_S:
                await asyncio.sleep(0)
                turn_s = loop.time()
        if records:
            assigned.folding = records[-1].offset

    async def send_ticks(self, lag: Callable[[int], int]) -> None:
        """Journal a tick for each row whose time has come."""
        for number, assigned in list(self._assigned.items()):
            if lag(number) > TICK_LAG_MAX:
                continue
            ticks: list[tuple[bytes, journal_pb2.JournalRecord]] = []
            for user_id, due_ms in assigned.timers.due(now_ms=clock_ms(), limit=TICKS_MAX):
                tick = journal_pb2.JournalRecord(
                    record_id=ids.tick_record_id(user_id, due_ms=due_ms),
                    writer=WRITER,
                    step_version=STEP_VERSION,
                    event_time_ms=due_ms,
                    tick=journal_pb2.Tick(due_ms=due_ms),
                )
                ticks.append((user_id.encode(), tick))
            await self._maker.ensure(whose for whose, _ in ticks)
            for whose, tick in ticks:
                value = self._sealing.frame("journal", tick, whose=whose)
                self._producer.produce(self._topics["journal"].name, key=whose, value=value, partition=number)

    async def beat(self) -> None:
        """Have Kafka clean up behind what was overwritten, in the partitions that are worked on here."""
        await heartbeat.beat(self._recovery.cluster, self._producer, self._assigned)

    async def settle(self) -> None:
        """Settle what was folded, for ever."""
        await self._settling.run()

    async def read_commits(self) -> None:
        """Learn how far each partition is committed: marks below it may go. Also notes how far the disk is."""
        for number, assigned in list(self._assigned.items()):
            assigned.state.committed = await self._recovery.committed(number) or 0
            if number in self._assigned:
                assigned.table.commit()

    async def look_ahead(self) -> None:
        """Set the timers for the time to come; often enough that none runs out."""
        for assigned in list(self._assigned.values()):
            if not assigned.gone:
                await assigned.look_over()

    async def follow(self) -> None:
        """Read the changelog of what is here as it grows, for ever: a woken worker may write smaller rows behind ours."""
        async for records in self._rows_follower:
            for record in records:
                assigned = self._assigned.get(record.partition)
                if assigned is not None:
                    assigned.table.check(record)
            await asyncio.sleep(0)

    async def publish_sums(self) -> None:
        """Publish each partition's sums where they changed or a day began, naming the offset that they cover."""
        day = of_day("sums", clock_ms())
        for number, assigned in list(self._assigned.items()):
            message = assigned.sums(self._leavers, whose=day)
            if message is None:
                continue
            await self._maker.ensure([day])
            await self._producer.produce(
                self._topics["policy-sums"].name,
                key=str(number).encode(),
                value=self._sealing.frame("policy-sums", message, whose=day),
            )
            assigned.published(message)

    async def _set_aside(self, assigned: Assigned, record: Record, ends: int) -> None:
        """Say in a log that every fold passes over this record, then do so. Its bytes are not looked at again here."""
        if assigned.holds(record):
            return  # A row has it already: it would only have been skipped.
        logger.error("record.set_aside partition=%d offset=%d ends=%d", record.partition, record.offset, ends)
        # The letter first: what is read again after the word is passed over.
        await self._dead_letters.refuse([Refusal(record, "set-aside", set_aside.detail(ends), whose=record.key or b"")])
        place = journal_pb2.Position(topic_id=self._journal_id, partition=record.partition, offset=record.offset)
        digest = set_aside.digest(record)
        word = journal_pb2.SetAside(place=place, worker=self._worker_id, ends=ends, at_ms=clock_ms(), digest=digest)
        await self._producer.produce(
            self._topics["set-aside"].name,
            key=f"{record.topic}/{record.partition}/{record.offset}".encode(),
            value=self._schemas.frame("set-aside", word),
        )
        assigned.aside.add(digest, offset=record.offset)

    async def _keys_of(self, assigned: Assigned, records: Sequence[Record]) -> None:
        """Another worker's door may have made them; whoever has none still was there before there were keys."""
        await self._keys.catch_up()
        await self._maker.ensure(record.key for record in records if record.key and self._needs_key(assigned, record))

    def _needs_key(self, assigned: Assigned, record: Record) -> bool:
        whose = record.key
        if not whose or not self._maker.lacks(whose) or assigned.aside.passes(record):
            return False
        # What is left of somebody who left stands open, and they get no key until they come back.
        name = _name(whose)
        return bool(name) and not self._leavers.passes(whose, record.offset) and not self._leavers.are_gone(name)

    async def _key_of_who_comes_back(self, assigned: Assigned, whose: bytes) -> None:
        try:
            row = assigned.state.row(_name(whose))
        except KeyMissing:
            await self._catch_up()
            row = assigned.state.row(_name(whose))
        if row is not None and erasure.is_stub(row):
            # The keys of the life that ended are gone before the new one gets its own.
            self._in_hand.lay_down()
            await self._settling.folded(assigned, 0)
        if self._maker.lacks(whose):
            self._in_hand.lay_down()
            await self._maker.ensure([whose])

    async def _end_keys(self, whose: bytes) -> None:
        """Also those that other doors made."""
        await self._keys.catch_up()
        await self._maker.forget(whose)

    async def _entry(self, record: Record) -> Entry:
        whose = record.key or b""
        try:
            journal = self._sealing.unframe("journal", record.value, whose=whose)
        except KeyMissing:
            await self._catch_up()
            try:
                journal = self._sealing.unframe("journal", record.value, whose=whose)
            except KeyMissing:
                if self._leavers.word_of(_name(whose)) is None:
                    raise
                # Sealed by a door that had not heard yet that they left.
                raise NotOpened(journal_pb2.JournalRecord) from None
        assert isinstance(journal, journal_pb2.JournalRecord)
        return entry_of(record, journal, topic_id=self._journal_id)

    async def _apply(self, assigned: Assigned, entry: Entry) -> Outputs:
        try:
            return assigned.state.apply(entry)
        except KeyMissing:
            # Of the row: nothing has changed yet.
            await self._catch_up()
            return assigned.state.apply(entry)

    async def _catch_up(self) -> None:
        # What is missing is not this record's fault: it is never set aside for it.
        self._in_hand.lay_down()
        await self._keys.catch_up()

    def _begun(self, entry: Entry) -> Work | None:
        """The span of a record that the door let in as sampled."""
        if self._traces is None or not (said := entry.record.traceparent):
            return None
        topic = self._topics["journal"].name
        return self._traces.begun_in(
            "recommend", said.encode(), topic=topic, partition=entry.partition, offset=entry.offset
        )

    def _ended(self, work: Work, outputs: Outputs) -> None:
        assert self._traces is not None
        if (decision := outputs.decision) is not None:
            work.attributes |= {
                "oo.decision_id": decision.decision_id,
                "oo.policy": decision.policy,
                "oo.kind": KINDS[outputs.tip.kind] if outputs.tip is not None else "NONE",
                "oo.trigger": TRIGGERS[decision.trigger],
            }
        work.fault = "step-failed" if outputs.fault else ""
        self._traces.ended(work)

    def _send(self, assigned: Assigned, outputs: Outputs, *, user_id: str, work: Work | None) -> None:
        key, partition = user_id.encode(), assigned.state.partition
        if outputs.tip is not None:
            # The tip now: it is what somebody waits for.
            value = self._sealing.frame("tips", outputs.tip, whose=key)
            headers = [(HEADER, work.span.text.encode())] if work is not None else ()
            self._producer.produce(self._topics["tips"].name, key=key, value=value, headers=headers)
        if outputs.decision is not None:
            self._settling.output(partition, "decisions", key, outputs.decision)
            kind = KINDS[outputs.tip.kind] if outputs.tip is not None else "NONE"
            DECISIONS[outputs.decision.policy, kind, TRIGGERS[outputs.decision.trigger]] += 1
        if outputs.erased is not None:
            self._settling.output(partition, "erasures", key, outputs.erased)
        if outputs.settings is not None:
            self._settling.output(partition, "settings", key, outputs.settings)
        if outputs.request is not None:
            self._settling.output(partition, "candidate-requests", key, outputs.request)
        if outputs.delivery is not None:
            self._settling.output(partition, "deliveries", key, outputs.delivery)
        for outcome in outputs.outcomes:
            self._settling.output(partition, "outcomes", key, outcome)

    def _overflows(self, outputs: Outputs, entry: Entry, record: Record) -> list[Refusal]:
        """Items that found no place, as letters that can be sent again: the signal, framed as a producer would."""
        refusals = []
        for overflow in outputs.overflows:
            # `step` knows nobody's own name: a letter under a pseudonym would make a person of it.
            overflow.signal.user_id = entry.record.signal.user_id
            # What had to leave for it was said at another time.
            at = entry.record.source if _item(overflow.signal) == _item(entry.record.signal) else None
            said = _as_said(record, "signals", self._schemas, overflow.signal, at=at)
            refusals.append(Refusal(said, overflow.reason, overflow.detail, whose=record.key or b""))
        return refusals

    def _faulty(self, entry: Entry, record: Record, fault: str) -> Refusal:
        """A record that `step` failed on: once that is mended, what the producer said can be sent again."""
        payload = entry.record.WhichOneof("payload") or ""
        topic = ENTRANCES.get(payload)
        whose = record.key or b""
        # What stays open names its person by the pseudonym alone.
        if topic is not None and not stays_open(entry.record):
            said = getattr(entry.record, payload)
            record = _as_said(record, topic, self._schemas, said, at=entry.record.source)
        return Refusal(record, "step-failed", ours(fault), whose=whose)


def _as_said(
    record: Record, topic: str, schemas: Frames, message: FromOutside, *, at: journal_pb2.Position | None
) -> Record:
    """What a producer said, as they would say it: under its person's own name. `at`: where they said it, if that is known."""
    headers = [(SAID_ON, topic.encode())]
    if at is not None:
        headers.append((SAID_AT, named(at.topic_id, partition=at.partition, offset=at.offset).encode()))
    return record._replace(key=message.user_id.encode(), value=schemas.frame(topic, message), headers=tuple(headers))


def _item(signal: signal_pb2.Signal) -> tuple[str, str, str]:
    """Which task or event it is about."""
    payload = signal.WhichOneof("payload") or ""
    return signal.source, payload, getattr(getattr(signal, payload, None), "external_id", "")


def _name(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return ""  # Only a stranger's hand writes such a key.


def build(app: faust.App, recommend: Recommend, *, topics: dict[str, Topic], sums_every_s: float) -> Partitions:
    """Declare the agent and its timers."""
    partitions = Partitions(
        app,
        topics["journal"].name,
        recommend.handle,
        before=recommend.before,
        on_assigned=recommend.assign,
        on_revoked=recommend.revoke,
    )

    @app.agent(app.topic(topics["journal"].name), name="recommend")
    async def agent(stream: StreamT[Any]) -> None:
        await partitions.run(stream)

    @app.task
    async def guard() -> None:
        await recommend.follow()

    @app.task
    async def settle() -> None:
        await recommend.settle()

    every(app, TICKS_EVERY_S, lambda: recommend.send_ticks(partitions.lag))
    every(app, COMMITS_EVERY_S, recommend.read_commits)
    every(app, AHEAD_MS / 2 / SECOND_MS, recommend.look_ahead)
    every(app, sums_every_s, recommend.publish_sums)
    every(app, heartbeat.LOOKED_EVERY_S, recommend.beat)
    return partitions

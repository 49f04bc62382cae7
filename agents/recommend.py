"""Recommend: folds journal partitions into rows, and sends out the tips, decisions and outcomes that follow.

The order of a batch, which makes a kill at any moment harmless: outputs acknowledged, then rows acknowledged, then the
batch. It never decides anything itself (agents.step does) and never calls anything but Kafka.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import faust
from faust.types import StreamT
from google.protobuf.message import Message

from agents.admit import YIELD_S
from agents.fold import Partition, entry_of
from agents.guard import Guard
from agents.recovery import MARKS_KEY, recover
from agents.refuse import DeadLetters, Refusal, clock_ms
from agents.step import STEP_VERSION, Entry, Outputs
from agents.versions import Versions
from agents.wheel import Wheel
from oo.v1 import journal_pb2, policy_pb2, row_pb2
from streams.frames import BadFrame, Schemas
from streams.partitions import Partitions
from streams.producer import Delivered, Producer
from streams.reader import Follower
from streams.record import Batch, Record
from streams.topics import Topic
from tables import ids
from tables.row import fence_of

logger = logging.getLogger(__name__)

TICKS_EVERY_S = 0.2
TICKS_MAX = 50
"""Per partition and turn: a great many rows that wake at once are spread, and never crowd out signals."""
TICK_LAG_MAX = 200
"""Ticks are sent only while the partition is nearly up to date: less than about a second of work behind."""
COMMITS_EVERY_S = 60.0
WRITER = "recommend/1"


@dataclass(slots=True)
class _Live:
    """One assigned partition."""

    state: Partition
    wheel: Wheel = field(default_factory=Wheel)
    withheld_until: int = -1
    """Sums are not published before the fold has passed this journal offset: rows may be ahead of the commit."""
    folded: int = -1
    published: bytes = b""


class Recommend:
    """The agent over its assigned journal partitions."""

    def __init__(
        self,
        *,
        topics: dict[str, Topic],
        journal_id: bytes,
        schemas: Schemas,
        producer: Producer,
        dead_letters: DeadLetters,
        versions: Versions,
        read_rows: Callable[[int], AsyncIterator[list[Record]]],
        rows_follower: Follower,
        committed: Callable[[int], Awaitable[int | None]],
    ) -> None:
        self._topics = topics
        self._journal_id = journal_id
        self._schemas = schemas
        self._producer = producer
        self._dead_letters = dead_letters
        self._versions = versions
        self._read_rows = read_rows
        self._committed = committed
        self._live: dict[int, _Live] = {}
        self.guard = Guard(rows_follower, journal_id=journal_id, fence_at=self._fence_at, write=self._write_again)

    async def assign(self, partitions: set[int]) -> None:
        """Rebuild the rows of partitions that came here; returns when they can be folded on."""
        for number in sorted(partitions):
            found = await recover(self._read_rows(number), topic_id=self._journal_id)
            for applied in found.marks.marks:
                await self._versions.wait_for(applied.mark.version_id)
            state = Partition(partition=number, versions=self._versions, rows=found.rows, marks=found.marks)
            state.committed = await self._committed(number) or 0
            state.recount()
            live = _Live(state=state, withheld_until=found.offset)
            for user_id, fence in found.fences.items():
                live.wheel.set(user_id, wake_ms=fence.next_wake_ms)
            await self._put_again(number, found.put_again)
            self._live[number] = live
            self.guard.add(number, start=found.end)
            logger.info(
                "partition.recovered partition=%d rows=%d put_again=%d offset=%d",
                number,
                len(found.rows),
                len(found.put_again),
                found.offset,
            )

    async def revoke(self, partitions: set[int]) -> None:
        """Forget partitions that went elsewhere."""
        for number in partitions:
            self.guard.remove(number)
            self._live.pop(number, None)

    async def handle(self, batch: Batch) -> None:
        """Fold one batch: outputs acknowledged, then rows; returning lets it be committed."""
        live = self._live[batch.partition]
        state = live.state
        loop = asyncio.get_running_loop()
        turn_s = loop.time()
        sent: list[asyncio.Future[Delivered]] = []
        refusals: list[Refusal] = []
        users: set[str] = set()
        for record in batch.records:
            try:
                entry = self._entry(record)
            except (BadFrame, UnicodeDecodeError) as bad:
                # Only a stranger's hand writes such a thing into the journal; it must not stop the others.
                refusals.append(Refusal(record, "not-journal", type(bad).__name__))
                continue
            if entry.record.HasField("mark"):
                await self._versions.wait_for(entry.record.mark.version_id)
            outputs = state.apply(entry)
            users.add(entry.user_id)
            if outputs.decision or outputs.outcomes or outputs.overflows:
                await self._producer.room()
                sent += self._send(outputs, user_id=entry.user_id)
                refusals += self._overflows(outputs, record)
            if outputs.fault:
                logger.error(
                    "step.failed partition=%d offset=%d fault=%s", record.partition, record.offset, outputs.fault
                )
                refusals.append(self._faulty(entry, record, outputs.fault))
            if loop.time() - turn_s > YIELD_S:
                await asyncio.sleep(0)
                turn_s = loop.time()
        await self._dead_letters.refuse(refusals)
        await asyncio.gather(*sent)
        await self._write_rows(batch.partition, state)
        state.settle()
        for user_id in users:
            row = state.row(user_id)
            live.wheel.set(user_id, wake_ms=row.next_wake_ms if row is not None else 0)
        live.folded = batch.last

    async def send_ticks(self, lag: Callable[[int], int]) -> None:
        """Journal a tick for each row whose time has come."""
        for number, live in list(self._live.items()):
            if lag(number) > TICK_LAG_MAX:
                continue
            for user_id, due_ms in live.wheel.due(now_ms=clock_ms(), limit=TICKS_MAX):
                tick = journal_pb2.JournalRecord(
                    record_id=ids.tick_record_id(user_id, due_ms=due_ms),
                    writer=WRITER,
                    step_version=STEP_VERSION,
                    event_time_ms=due_ms,
                    tick=journal_pb2.Tick(due_ms=due_ms),
                )
                value = self._schemas.frame("journal", tick)
                self._producer.produce(
                    self._topics["journal"].name, key=user_id.encode(), value=value, partition=number
                )

    async def read_commits(self) -> None:
        """Learn how far each partition is committed: marks below it may go."""
        for number, live in list(self._live.items()):
            live.state.committed = await self._committed(number) or 0

    async def publish_sums(self) -> None:
        """Publish each partition's sums where they changed, naming the offset that they cover."""
        for number, live in list(self._live.items()):
            if live.folded < live.withheld_until or live.folded < 0:
                continue
            sums = live.state.totals.messages()
            content = b"".join(one.SerializeToString(deterministic=True) for one in sums)
            if content == live.published:
                continue
            message = policy_pb2.PartitionSums(
                journal=journal_pb2.Position(topic_id=self._journal_id, partition=number, offset=live.folded),
                sums=sums,
                users=live.state.totals.users,
            )
            await self._producer.produce(
                self._topics["policy-sums"].name,
                key=str(number).encode(),
                value=self._schemas.frame("policy-sums", message),
            )
            live.published = content

    def _entry(self, record: Record) -> Entry:
        journal = self._schemas.unframe("journal", record.value)
        assert isinstance(journal, journal_pb2.JournalRecord)
        return entry_of(record, journal, topic_id=self._journal_id)

    def _send(self, outputs: Outputs, *, user_id: str) -> list[asyncio.Future[Delivered]]:
        key = user_id.encode()
        messages = [("outcomes", outcome) for outcome in outputs.outcomes]
        sent = []
        # The tip first: it is what somebody waits for.
        if outputs.tip is not None and outputs.decision is not None:
            sent.append(self._produce("tips", key, outputs.tip))
            sent.append(self._produce("decisions", key, outputs.decision))
        return sent + [self._produce(name, key, message) for name, message in messages]

    def _produce(self, name: str, key: bytes, message: Any) -> asyncio.Future[Delivered]:
        return self._producer.produce(self._topics[name].name, key=key, value=self._schemas.frame(name, message))

    def _overflows(self, outputs: Outputs, record: Record) -> list[Refusal]:
        """Items that found no place, as letters that can be sent again: the signal, framed as a producer would."""
        return [
            Refusal(
                record._replace(
                    value=self._schemas.frame("signals", overflow.signal), headers=(("oo_topic", b"signals"),)
                ),
                overflow.reason,
                overflow.detail,
            )
            for overflow in outputs.overflows
        ]

    def _faulty(self, entry: Entry, record: Record, fault: str) -> Refusal:
        """A record that `step` failed on: once that is mended, what the producer said can be sent again."""
        said = {"signal": ("signals", entry.record.signal), "reaction": ("reactions", entry.record.reaction)}.get(
            entry.record.WhichOneof("payload") or ""
        )
        if said is not None:
            topic, message = said
            value = self._schemas.frame(topic, message)
            record = record._replace(value=value, headers=(("oo_topic", topic.encode()),))
        return Refusal(record, "step-failed", f"a fault of oO's own, on our side to mend: {fault}")

    async def _write_rows(self, number: int, state: Partition) -> None:
        topic = self._topics["rows"].name
        rows: list[tuple[bytes, Message]] = [(user_id.encode(), row) for user_id, row in state.changed()]
        partition_row = state.changed_marks()
        if partition_row is not None:
            rows.append((MARKS_KEY, partition_row))
        written = [
            self._producer.produce(topic, key=key, value=self._schemas.frame("rows", row), partition=number)
            for key, row in rows
        ]
        for (key, _), delivered in zip(rows, await asyncio.gather(*written), strict=True):
            self.guard.wrote(number, key, offset=delivered.offset)

    def _fence_at(self, number: int, key: bytes) -> int | None:
        live = self._live.get(number)
        if live is None:
            return None
        if key == MARKS_KEY:
            return live.state.marks.journal_offset if live.state.marks.marks else None
        message = live.state.rows.get(key.decode())
        return None if message is None else fence_of(message).offset

    def _write_again(self, number: int, key: bytes) -> None:
        state = self._live[number].state
        row = state.marks if key == MARKS_KEY else row_pb2.UserRow.FromString(state.rows[key.decode()])
        value = self._schemas.frame("rows", row)
        # Not awaited: a delivery that fails ends the process, and recovery puts the row right.
        self._producer.produce(self._topics["rows"].name, key=key, value=value, partition=number)

    async def _put_again(self, number: int, rows: list[tuple[bytes, bytes]]) -> None:
        topic = self._topics["rows"].name
        await asyncio.gather(
            *(self._producer.produce(topic, key=key, value=value, partition=number) for key, value in rows)
        )


def build(app: faust.App, recommend: Recommend, *, topics: dict[str, Topic], sums_every_s: float) -> Partitions:
    """Declare the agent and its timers."""
    partitions = Partitions(
        app,
        topics["journal"].name,
        recommend.handle,
        on_assigned=recommend.assign,
        on_revoked=recommend.revoke,
    )

    @app.agent(app.topic(topics["journal"].name), name="recommend")
    async def agent(stream: StreamT[Any]) -> None:
        await partitions.run(stream)

    @app.task
    async def ticks() -> None:
        while not app.should_stop:
            await asyncio.sleep(TICKS_EVERY_S)
            await recommend.send_ticks(partitions.lag)

    @app.task
    async def guard() -> None:
        await recommend.guard.run()

    @app.task
    async def commits() -> None:
        while not app.should_stop:
            await asyncio.sleep(COMMITS_EVERY_S)
            await recommend.read_commits()

    @app.task
    async def sums() -> None:
        while not app.should_stop:
            await asyncio.sleep(sums_every_s)
            await recommend.publish_sums()

    return partitions

"""Recommend: folds journal partitions into rows, and sends out the tips, decisions and outcomes that follow.

The order of a batch, which makes a kill at any moment harmless: outputs acknowledged, then rows acknowledged, then the
batch. It never decides anything itself (agents.step does) and never calls anything but Kafka.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import faust
from faust.types import StreamT

from agents.admit import YIELD_S
from agents.features import VERSION
from agents.fold import Partition, entry_of, taught
from agents.refuse import DeadLetters, Refusal, clock_ms
from agents.rows import MARKS_KEY, Rows, head, order_in, wake_of
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
from streams.wire import payload
from tables import ids
from tables.row import fence_of
from tables.store import Store
from tables.sums import Taught
from tables.table import Pairs, Table
from tables.totals import Totals, messages

logger = logging.getLogger(__name__)

TICKS_EVERY_S = 0.2
TICKS_MAX = 50
"""Per partition and turn: a great many rows that wake at once are spread, and never crowd out signals."""
TICK_LAG_MAX = 200
"""Ticks are sent only while the partition is nearly up to date: less than about a second of work behind."""
COMMITS_EVERY_S = 60.0
TOTALS = b"totals"
"""Beside the rows on their disk: what people taught, added up."""
AHEAD_MS = 3_600_000
"""Next wakes within this time stand in memory; the rows' heads have the others."""
LOOKED_OVER_AT_ONCE = 2_000
COUNTED_AT_ONCE = 100
"""Rows between two looks at anything else."""
WRITER = "recommend/1"


@dataclass(slots=True)
class _Live:
    """One assigned partition."""

    state: Partition
    table: Table
    wheel: Wheel = field(default_factory=Wheel)
    withheld_until: int = -1
    """Sums are not published before the fold has passed this journal offset: rows may be ahead of the commit."""
    folded: int = -1
    published: bytes = b""
    counting: asyncio.Task[None] | None = None
    """Adds the totals up anew and settles what was loaded, where the disk did not have them."""
    stored_changes: int = 0
    """Of the totals, when they were last written to the disk."""
    gone: bool = False


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
        open_store: Callable[[int], Store],
        rows_bounds: Callable[[int], Awaitable[tuple[int, int]]],
        read_rows: Callable[[int, int, int], AsyncIterator[Pairs]],
        rows_follower: Follower,
        committed: Callable[[int], Awaitable[int | None]],
    ) -> None:
        """`rows_bounds(partition)`: oldest and end offset of the changelog; `read_rows(partition, start, end)`."""
        self._topics = topics
        self._journal_id = journal_id
        self._schemas = schemas
        self._producer = producer
        self._dead_letters = dead_letters
        self._versions = versions
        self._open_store = open_store
        self._rows_bounds = rows_bounds
        self._read_rows = read_rows
        self._rows_follower = rows_follower
        self._committed = committed
        self._live: dict[int, _Live] = {}
        self._row_header = schemas.header("rows", row_pb2.UserRow)

    async def assign(self, partitions: set[int]) -> None:
        """Bring the rows of partitions that came here up to their changelog; returns when they can be folded on."""
        for number in sorted(partitions):
            store = self._open_store(number)
            try:
                live = await self._recover(number, store)
            except BaseException:
                # Given back: the partition may come again to this very process.
                store.close()
                raise
            self._live[number] = live

    async def _recover(self, number: int, store: Store) -> _Live:
        table = Table(
            store,
            head=head,
            order=order_in(self._journal_id),
            produce=partial(self._to_rows, number),
            name=f"rows-{number}",
        )
        low, end = await self._rows_bounds(number)
        # Of every epoch that a row below that end may name.
        await self._versions.catch_up()
        known = store.side(TOTALS)
        totals = Totals.from_bytes(known or b"", epochs=self._versions.epochs)

        def recount(changes: Mapping[bytes, bytes | None]) -> Mapping[bytes, bytes]:
            if known is None:
                return {}
            for key, value in changes.items():
                if key != MARKS_KEY:
                    totals.replace(_taught(store.get(key)), _taught(value))
            return {TOTALS: totals.to_bytes()}

        done = await table.recover(
            low=low, end=end, read=lambda start: self._read_rows(number, start, end), side=recount
        )
        state = Partition(
            partition=number,
            versions=self._versions,
            rows=Rows(table, header=self._row_header),
            totals=Totals(epochs=self._versions.epochs),
        )
        marks = store.get(MARKS_KEY)
        # Offsets of another journal say nothing about this one; learn marks the newest version here anew.
        if marks is not None and fence_of(payload(marks)).topic_id == self._journal_id:
            state.marks = row_pb2.PartitionRow.FromString(payload(marks))
        for applied in state.marks.marks:
            await self._versions.wait_for(applied.mark.version_id)
        state.committed = await self._committed(number) or 0
        live = _Live(state=state, table=table)
        rows, live.withheld_until = await self._look_over(live, folding=False)
        if known is None or done.rebuilt:
            live.counting = asyncio.create_task(self._count(live, store.values()), name=f"totals-{number}")
        else:
            state.totals = totals
            live.stored_changes = totals.changes
        self._rows_follower.add(number, start=end)
        logger.info(
            "partition.recovered partition=%d rows=%d read=%d from=%d put_again=%d offset=%d",
            number,
            rows,
            done.records,
            done.start,
            done.put_again,
            live.withheld_until,
        )
        return live

    async def revoke(self, partitions: set[int]) -> None:
        """Give back partitions that went elsewhere; their disks stay, for the case that they come again."""
        for number in partitions:
            self._rows_follower.remove(number)
            live = self._live.pop(number, None)
            if live is None:
                continue
            live.gone = True
            if live.counting is not None:
                live.counting.cancel()
            live.table.close()

    async def handle(self, batch: Batch) -> None:
        """Fold one batch: outputs acknowledged, then rows; returning lets it be committed."""
        live = self._live[batch.partition]
        state = live.state
        loop = asyncio.get_running_loop()
        turn_s = loop.time()
        sent: list[asyncio.Future[Delivered]] = []
        refusals: list[Refusal] = []
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
        await self._write_rows(live)
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
        """Learn how far each partition is committed: marks below it may go. Also notes how far the disk is."""
        for number, live in list(self._live.items()):
            live.state.committed = await self._committed(number) or 0
            if number in self._live:
                live.table.commit()

    async def look_ahead(self) -> None:
        """Set the wheels for the time to come; often enough that none runs out."""
        for live in list(self._live.values()):
            if not live.gone:
                await self._look_over(live)

    async def follow(self) -> None:
        """Read the changelog of what is here as it grows, for ever: a woken worker may write smaller rows behind ours."""
        async for records in self._rows_follower:
            for record in records:
                live = self._live.get(record.partition)
                if live is not None:
                    live.table.check(record)
            await asyncio.sleep(0)

    async def publish_sums(self) -> None:
        """Publish each partition's sums where they changed, naming the offset that they cover."""
        for number, live in list(self._live.items()):
            if live.counting is not None:
                if live.counting.done():
                    live.counting.result()
                continue
            if live.folded < live.withheld_until or live.folded < 0:
                continue
            totals = messages(_totals(live), feature_version=VERSION)
            content = b"".join(one.SerializeToString(deterministic=True) for one in totals)
            if content == live.published:
                continue
            message = policy_pb2.PartitionSums(
                journal=journal_pb2.Position(topic_id=self._journal_id, partition=number, offset=live.folded),
                totals=totals,
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

    async def _write_rows(self, live: _Live) -> None:
        """Changed rows to the changelog; when they are acknowledged, to the disk, with what belongs to them, at once."""
        state = live.state
        changed = state.changed()
        values = {user_id.encode(): self._row_header + message for user_id, message in changed.items()}
        marks = state.changed_marks()
        if marks is not None:
            values[MARKS_KEY] = self._schemas.frame("rows", marks)
        await live.table.publish(values)
        state.settle()
        if marks is not None:
            live.table.put(MARKS_KEY, values[MARKS_KEY])
        side, totals = {}, _totals(live)
        if live.counting is None and live.stored_changes != totals.changes:
            side[TOTALS] = totals.to_bytes()
            live.stored_changes = totals.changes
        live.table.commit(side)
        for user_id, message in changed.items():
            live.wheel.set(user_id, wake_ms=wake_of(message))

    async def _look_over(self, live: _Live, *, folding: bool = True) -> tuple[int, int]:
        """Set the wheel for the time ahead, from the rows' heads; returns how many there are, and the greatest offset.

        `folding`: rows may change meanwhile, so those that wake soon are asked for again.
        """
        store, order = live.table.store, order_in(self._journal_id)
        until_ms = live.wheel.until_ms = clock_ms() + AHEAD_MS
        count, greatest = 0, -1
        scan = store.scan()
        while some := list(islice(scan, LOOKED_OVER_AT_ONCE)):
            count += len(some)
            greatest = max(greatest, *[order(front) for _, front in some])
            soon = [(key, wake_of(front)) for key, front in some if 0 < wake_of(front) <= until_ms and key != MARKS_KEY]
            if folding:
                fronts = store.heads([key for key, _ in soon])
                soon = [(key, 0 if now is None else wake_of(now)) for (key, _), now in zip(soon, fronts, strict=True)]
            for key, wake_ms in soon:
                live.wheel.set(key.decode(), wake_ms=wake_ms)
            await asyncio.sleep(0)
            if live.gone:
                break
        return count, greatest

    async def _count(self, live: _Live, rows: Iterator[tuple[bytes, bytes]]) -> None:
        """Add up what the rows teach, as they stood at the start; what changes meanwhile adds itself.

        Beside that, rows that were loaded come to where they stay on the disk.
        """
        store = live.table.store
        counted = Totals(epochs=self._versions.epochs)
        for number, (key, value) in enumerate(rows):
            if key != MARKS_KEY:
                counted.replace(None, _taught(value))
            if number % COUNTED_AT_ONCE == 0:
                store.settle(COUNTED_AT_ONCE)
                await asyncio.sleep(0)
        while store.settle(COUNTED_AT_ONCE):  # noqa: ASYNC110 - it does something at every turn
            await asyncio.sleep(0)
        _totals(live).merge(counted)
        live.counting = None
        live.table.commit({TOTALS: _totals(live).to_bytes()})

    def _to_rows(self, number: int, key: bytes, value: bytes) -> asyncio.Future[Delivered]:
        return self._producer.produce(self._topics["rows"].name, key=key, value=value, partition=number)


def _totals(live: _Live) -> Totals:
    assert live.state.totals is not None
    return live.state.totals


def _taught(value: bytes | None) -> Taught | None:
    return taught(row_pb2.UserRow.FromString(payload(value))) if value is not None else None


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
        await recommend.follow()

    @app.task
    async def commits() -> None:
        while not app.should_stop:
            await asyncio.sleep(COMMITS_EVERY_S)
            await recommend.read_commits()

    @app.task
    async def ahead() -> None:
        while not app.should_stop:
            await asyncio.sleep(AHEAD_MS / 2 / 1000)
            await recommend.look_ahead()

    @app.task
    async def sums() -> None:
        while not app.should_stop:
            await asyncio.sleep(sums_every_s)
            await recommend.publish_sums()

    return partitions

"""Publish: writes tips and settings to Valkey, where the edge reads them, and writes them again when Valkey has lost them.

It never decides which of two is newer (connectors/valkey.py compares in Lua), and never acknowledges one that Valkey
does not hold. What is said here of tips is so of settings too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import faust
from faust.types import StreamT

from agents.refuse import DeadLetters, Refusal
from connectors.spans import Work
from connectors.tip_progress import Mark, Moves, TipProgress
from connectors.traces import Traces
from connectors.valkey import TipStore, Unreachable, Written
from oo.v1.decision_pb2 import Tip
from oo.v1.settings_pb2 import Settings
from streams.clock import clock_ms
from streams.frames import Frames
from streams.metrics import SIGNAL_TO_TIP_S
from streams.partitions import Partitions
from streams.periodic import every
from streams.record import Batch, Record
from streams.retry import until_done
from streams.sealing import stays_open
from streams.topics import Topic
from streams.units import SECOND_MS
from streams.wire import BadFrame
from tables.leavers import Leaving

logger = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0
"""How soon an emptied Valkey is noticed while no tip comes."""


Standing = Tip | Settings
"""What stands for a person: the one of the greatest offset in the journal."""


@dataclass(frozen=True, slots=True)
class Source:
    """The topic that tips, or settings, come from, and how to read a part of one partition again without the consumer group."""

    name: Literal["tips", "settings"]
    topic_id: bytes
    end: Callable[[int], Awaitable[int]]
    """partition -> its high-water mark now."""
    read: Callable[[int, int, int], AsyncIterator[list[Record]]]
    """(partition, start, end) -> the records in [start, end), in lists of a bounded size."""


class MarkMoved(Exception):
    """Valkey was emptied, or another worker wrote, while this one did."""


def build(app: faust.App, publisher: Publisher, *, topics: Mapping[str, Topic]) -> Partitions:
    """Declare the agent on `app`; the stream returned is for health and lag."""
    partitions = Partitions(
        app,
        topics[publisher.name].name,
        publisher.handle,
        on_assigned=publisher.assign,
        on_revoked=publisher.revoke,
        # A batch may wait for Valkey as long as it takes: that is no stall.
        stalled_after_s=math.inf,
    )

    @app.agent(app.topic(topics[publisher.name].name), name=f"publish-{publisher.name}")
    async def publish(stream: StreamT[Any]) -> None:
        await partitions.run(stream)

    every(app, WATCH_EVERY_S, publisher.watch)
    return partitions


class Publisher:
    """The life of the assigned partitions' marks.

    `_marks[p]` is the mark's text as this process last saw or wrote it: Valkey holds every tip of p below it. Each
    write of tips ends with moving the mark from there; where it no longer stands there, Valkey has lost something
    (or another worker writes), and the partition is read again from where the mark does stand.
    """

    def __init__(
        self,
        *,
        topic: Source,
        store: TipStore,
        progress: TipProgress,
        schemas: Frames,
        dead_letters: DeadLetters,
        leaving: Leaving,
        traces: Traces | None = None,
    ) -> None:
        """`traces`: None where nothing is traced."""
        self._leaving = leaving
        self._traces = traces
        self.name = topic.name
        self._topic = topic
        self._store = store
        self._progress = progress
        self._schemas = schemas
        self._dead_letters = dead_letters
        self._marks: dict[int, str] = {}
        self._turns: dict[int, asyncio.Lock] = {}

    async def assign(self, partitions: set[int]) -> None:
        """Take partitions over: Valkey holds all their tips when this returns."""
        for partition in sorted(partitions):
            self._turns[partition] = asyncio.Lock()
            async with self._turns[partition]:
                await self._until_done(partial(self._read_again, partition))

    async def revoke(self, partitions: set[int]) -> None:
        """Forget partitions; a `watch` under way for them ends first."""
        for partition in partitions:
            turn = self._turns.pop(partition, None)
            if turn is not None:
                async with turn:
                    self._marks.pop(partition, None)

    async def handle(self, batches: Sequence[Batch]) -> None:
        """Return once Valkey holds the tips of these batches, and what is no tip is a dead letter."""
        tips: dict[int, list[tuple[int, Standing]]] = {}
        ends: dict[int, int] = {}
        refusals: list[Refusal] = []
        works: dict[str, Work] = {}
        for batch in batches:
            found = tips.setdefault(batch.partition, [])
            ends[batch.partition] = batch.last + 1
            for record in batch.records:
                if record.value is None:
                    continue  # nobody of ours writes one: an erasure leaves an empty tip
                try:
                    tip = self._tip(record)
                except BadFrame as bad:
                    refusals.append(Refusal(record, bad.reason, bad.detail))
                    continue
                found.append((record.offset, tip))
                if self._traces is not None and isinstance(tip, Tip):
                    work = self._traces.begun("publish", record)
                    if work is not None:
                        works[tip.decision_id] = work
        await self._dead_letters.refuse(refusals)
        async with AsyncExitStack() as turns:
            for partition in sorted(tips):
                await turns.enter_async_context(self._turns[partition])
            await self._until_done(lambda: self._write(tips, ends, works))

    async def watch(self) -> None:
        """Read again what Valkey has lost since it was written; one attempt, and none with Valkey down."""
        with contextlib.suppress(*Unreachable, MarkMoved):
            standing = await self._progress.read()
            for partition, mark in list(self._marks.items()):
                turn = self._turns.get(partition)
                # While a batch is being written its own move will tell.
                if turn is None or turn.locked() or standing.get(partition, "") == mark:
                    continue
                async with turn:
                    await self._read_again(partition)

    async def _write(
        self, tips: Mapping[int, list[tuple[int, Standing]]], ends: Mapping[int, int], works: dict[str, Work]
    ) -> None:
        """One round trip for the tips of all partitions and their marks."""
        held = {partition: self._held(partition) for partition in tips}
        moving = {partition: end for partition, end in ends.items() if end > held[partition]}
        if not moving:
            return
        new = [tip for partition in moving for offset, tip in tips[partition] if offset >= held[partition]]
        to = {partition: Mark(self._topic.topic_id, end) for partition, end in moving.items()}
        moved = await self._publish(new, works, {one: (self._marks[one], mark) for one, mark in to.items()})
        now_ms = clock_ms()
        for tip in new:
            if isinstance(tip, Tip) and tip.decided_ms:
                SIGNAL_TO_TIP_S.add(max(0, now_ms - tip.decided_ms) / SECOND_MS)
        self._marks |= {partition: to[partition].text for partition in moved}
        for partition in moving.keys() - moved:
            await self._read_again(partition)

    def _held(self, partition: int) -> int:
        mark = Mark.parse(self._marks[partition])
        assert mark is not None, "a partition is caught up before its first batch"
        return mark.offset

    async def _read_again(self, partition: int) -> None:
        """Write the partition's newest tips from where Valkey's mark stands to the partition's end.

        Only each user's newest: in an emptied Valkey an older one would be served for a moment, after the person has
        seen the newer. Raises MarkMoved where somebody else moves the mark meanwhile.
        """
        seen = (await self._progress.read()).get(partition, "")
        mark = Mark.parse(seen)
        end = await self._topic.end(partition)
        start = 0
        # Another topic id: the topic was made anew. Past the end: the topic lost records that it had. Both: from 0.
        if mark is not None and mark.topic_id == self._topic.topic_id and mark.offset <= end:
            start = mark.offset
        if start == 0:
            # A mark from the first tip on: without one, a Valkey emptied meanwhile would look as it did before.
            seen = await self._move(partition, seen=seen, offset=0)
        logger.info("%s.read_again partition=%d start=%d end=%d", self.name, partition, start, end)
        newest: dict[str, Standing] = {}
        async for records in self._topic.read(partition, start, end):
            for record in records:
                # What is no tip becomes a dead letter where the consumer group passes it.
                with contextlib.suppress(BadFrame):
                    if record.value is not None:
                        tip = self._tip(record)
                        newest[tip.user_id] = _newer(newest.get(tip.user_id), tip)
        if partition not in self._turns:
            return  # revoked meanwhile
        # A zombie's tip may stand where an erasure's was cleaned away.
        await self._leaving.catch_up()
        await self._publish(list(newest.values()))
        self._marks[partition] = await self._move(partition, seen=seen, offset=end)

    async def _publish(
        self,
        tips: Sequence[Standing],
        works: dict[str, Work] | None = None,
        marks: Mapping[int, tuple[str, Mark]] | None = None,
    ) -> set[int]:
        """Write them, with the decision's span where `works` has one, but for those of a life that ended; of who left, all that is kept beside the tip goes.

        Then move `marks`, partition -> from where to where; says which moved.
        """
        leavers = self._leaving.leavers
        taken = [tip for tip in tips if not leavers.are_of_before(tip.user_id, tip.journal)]
        gone = [tip for tip in taken if isinstance(tip, Tip) and stays_open(tip)]
        moves = self._progress.moves(marks) if marks else None
        written = await self._put(taken, works or {}, None if gone else moves)
        for tip in gone:
            await self._store.forget(tip.user_id)
        return await self._progress.move_all(moves) if gone and moves else written.moved

    async def _put(self, taken: Sequence[Standing], works: dict[str, Work], moves: Moves | None) -> Written:
        if self.name == "settings":
            return await self._store.publish_settings([one for one in taken if isinstance(one, Settings)], moves=moves)
        tips = [tip for tip in taken if isinstance(tip, Tip)]
        spans = {decision: work.parent.text for decision, work in works.items() if work.parent is not None}
        written = await self._store.publish_tips(tips, spans=spans, moves=moves)
        for work in works.values():
            assert self._traces is not None
            self._traces.ended(work)
        works.clear()
        return written

    async def _move(self, partition: int, *, seen: str, offset: int) -> str:
        to = Mark(self._topic.topic_id, offset)
        if to.text != seen and not await self._progress.move(partition, seen=seen, to=to):
            raise MarkMoved(f"partition {partition}: the mark no longer stands at {seen or 'nothing'}")
        return to.text

    def _tip(self, record: Record) -> Standing:
        tip = self._schemas.unframe(self.name, record.value)
        assert isinstance(tip, Standing), "one message type stands on this topic"
        if tip.sealed:
            # Which key of Valkey's it goes to; the rest stays shut.
            tip.user_id = (record.key or b"").decode(errors="replace")
        return tip

    async def _until_done(self, work: Callable[[], Awaitable[None]]) -> None:
        await until_done(work, on=(*Unreachable, MarkMoved), what="valkey")


def _newer(known: Standing | None, tip: Standing) -> Standing:
    """Of two of a user the one that stands: within a journal the greater offset, else the one that came later."""
    if known is None or known.journal.topic_id != tip.journal.topic_id:
        return tip
    return max(known, tip, key=lambda one: one.journal.offset)

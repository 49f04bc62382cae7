"""Record: writes decisions with their slates, and their outcomes, to PostgreSQL; and deletes those of people who left.

It never holds up a tip: it is a process of its own, and with PostgreSQL down it waits and catches up later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import faust
from faust.types import StreamT

from agents.refuse import DeadLetters, Refusal
from connectors.postgres.sink import Sink, Stored, Unreachable, Written
from oo.v1.decision_pb2 import Decision
from oo.v1.outcome_pb2 import Outcome
from streams.clock import clock_ms
from streams.frames import Frames
from streams.keys import Keys, opened_by
from streams.metrics import MASKED, OUTCOMES, PROPENSITY, REWARDS
from streams.partitions import Partitions
from streams.periodic import every
from streams.record import Batch, Record
from streams.retry import until_done
from streams.sealing import KeyMissing
from streams.topics import Topic
from streams.units import DAY_MS
from streams.wire import BadFrame
from tables import leavers, slates
from tables.leavers import Leaving

logger = logging.getLogger(__name__)

TRIMMED_EVERY_S = 900.0
THESE_DAYS_MS = 7 * DAY_MS
BETWEEN_S = 0.1
"""Two batches of rows that go: who writes and reads has the server meanwhile."""

Message = TypeVar("Message", Decision, Outcome)


def build(
    app: faust.App,
    *,
    topics: Mapping[str, Topic],
    decisions_sink: Sink,
    outcomes_sink: Sink,
    erasures_sink: Sink,
    schemas: Frames,
    keys: Keys,
    dead_letters: DeadLetters,
    leaving: Leaving,
    history_ms: int,
) -> list[Partitions]:
    """Declare the agents on `app`; returns their streams, each with a sink of its own: neither waits for the other's.

    `history_ms`: how old a decision or an outcome gets in PostgreSQL.
    """

    async def on_decisions(batches: Sequence[Batch]) -> None:
        read = _read(schemas, "decisions", Decision)
        await _record(batches, read, keys, leaving, decisions_sink.record_decisions, dead_letters)

    async def on_outcomes(batches: Sequence[Batch]) -> None:
        read = _read(schemas, "outcomes", Outcome)
        await _record(batches, read, keys, leaving, outcomes_sink.record_outcomes, dead_letters)

    # A batch may wait for PostgreSQL as long as it takes: that is no stall.
    decisions = Partitions(app, topics["decisions"].name, on_decisions, stalled_after_s=math.inf)
    outcomes = Partitions(app, topics["outcomes"].name, on_outcomes, stalled_after_s=math.inf)

    async def on_erasures(batches: Sequence[Batch]) -> None:
        records = chain.from_iterable(batch.records for batch in batches)
        words = [word for record in records if (word := leavers.read(schemas, record)) is not None]
        if words:
            await until_done(lambda: erasures_sink.forget(words), on=Unreachable, what="postgres")

    erasures = Partitions(app, topics["erasures"].name, on_erasures, stalled_after_s=math.inf)

    @app.agent(app.topic(topics["decisions"].name), name="record-decisions")
    async def record_decisions(stream: StreamT[Any]) -> None:
        await decisions.run(stream)

    @app.agent(app.topic(topics["outcomes"].name), name="record-outcomes")
    async def record_outcomes(stream: StreamT[Any]) -> None:
        await outcomes.run(stream)

    @app.agent(app.topic(topics["erasures"].name), name="record-erasures")
    async def record_erasures(stream: StreamT[Any]) -> None:
        await erasures.run(stream)

    every(app, TRIMMED_EVERY_S, lambda: trim(erasures_sink, history_ms=history_ms, now_ms=clock_ms()))
    return [decisions, outcomes, erasures]


async def trim(sink: Sink, *, history_ms: int, now_ms: int) -> None:
    """Delete what is older, a batch after the other; what PostgreSQL does not do now it does at the next turn.

    Age is counted to the newest decision, and where there is none of these days nothing goes: a clock that runs ahead, `now_ms`,
    deletes nothing before its time.
    """
    gone = below_ms = 0
    try:
        newest_ms = await sink.newest(above_ms=now_ms - THESE_DAYS_MS)
        if newest_ms is None:
            return
        below_ms = min(now_ms, newest_ms) - history_ms
        while some := await sink.trim(below_ms=below_ms):
            gone += some
            await asyncio.sleep(BETWEEN_S)
    except Unreachable as error:
        logger.warning("history.not_trimmed why=%s", type(error).__name__)
    if gone:
        logger.info("history.trimmed rows=%d below_ms=%d", gone, below_ms)


def _read(schemas: Frames, name: str, kind: type[Message]) -> Callable[[Record], Message]:
    def read(record: Record) -> Message:
        message = schemas.unframe(name, record.value)
        assert isinstance(message, kind), "one message type stands on this topic"
        return message

    return read


async def _record(
    batches: Sequence[Batch],
    read: Callable[[Record], Message],
    keys: Keys,
    leaving: Leaving,
    write: Callable[[Sequence[Stored[Message]]], Awaitable[Written]],
    dead_letters: DeadLetters,
) -> None:
    """One transaction for all of them; returns once PostgreSQL has it and every refused record is a dead letter."""
    refusals: list[Refusal] = []
    taken: list[Record] = []
    messages: list[Stored[Message]] = []
    for record in chain.from_iterable(batch.records for batch in batches):
        try:
            kept = read(record)
            opened = await _opened(keys, leaving, kept, whose=record.key or b"")
            if opened is None:
                continue
            messages.append(Stored(opened, kept))
        except BadFrame as bad:
            refusals.append(Refusal(record, bad.reason, bad.detail))
        else:
            taken.append(record)
    written = await until_done(lambda: write(messages), on=Unreachable, what="postgres")
    refusals += [Refusal(taken[item.index], "unstorable", item.detail) for item in written.refused]
    for message in messages:
        _count(message.message)
    await dead_letters.refuse(refusals)


def _count(message: Message) -> None:
    if isinstance(message, Decision):
        PROPENSITY.add(message.propensity)
        # Of a slate that nobody of ours packed nothing is counted.
        with contextlib.suppress(ValueError):
            for reason, many in slates.masked(message).items():
                MASKED[reason,] += many
    elif isinstance(message, Outcome):
        OUTCOMES[Outcome.Kind.Name(message.kind), str(message.learned).lower()] += 1
        REWARDS["gained" if message.reward > 0 else "lost",] += abs(message.reward)


async def _opened(keys: Keys, leaving: Leaving, kept: Message, *, whose: bytes) -> Message | None:
    """The message, opened; None where it is of a life that ended, whose key may be gone. Raises NotOpened and KeyMissing."""
    if leaving.leavers.are_of_before(whose.decode(errors="replace"), kept.journal):
        return None
    try:
        return await opened_by(keys, kept, whose=whose)
    except KeyMissing:
        await leaving.catch_up()
        if leaving.leavers.are_of_before(whose.decode(errors="replace"), kept.journal):
            return None
        raise

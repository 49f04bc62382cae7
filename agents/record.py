"""Record: writes decisions with their slates, and their outcomes, to PostgreSQL.

It never holds up a tip: it is a process of its own, and with PostgreSQL down it waits and catches up later.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import faust
from faust.types import StreamT

from agents.refuse import DeadLetters, Refusal
from agents.retry import until_done
from connectors.postgres.sink import Sink, Unreachable, Written
from oo.v1.decision_pb2 import Decision
from oo.v1.outcome_pb2 import Outcome
from streams.backoff import PATIENT, Backoff
from streams.frames import Frames
from streams.partitions import Partitions
from streams.record import Batch, Record
from streams.wire import BadFrame

Message = TypeVar("Message", Decision, Outcome)


@dataclass(frozen=True, slots=True)
class Recording:
    """The agent's two streams, for health and lag."""

    decisions: Partitions
    outcomes: Partitions


def build(
    app: faust.App,
    *,
    decisions_topic: str,
    outcomes_topic: str,
    decisions_sink: Sink,
    outcomes_sink: Sink,
    schemas: Frames,
    dead_letters: DeadLetters,
    backoff: Backoff = PATIENT,
) -> Recording:
    """Declare the agents on `app`; each stream has a sink of its own, so that neither waits for the other's."""

    async def on_decisions(batch: Batch) -> None:
        await _record(
            batch, _read(schemas, "decisions", Decision), decisions_sink.record_decisions, dead_letters, backoff
        )

    async def on_outcomes(batch: Batch) -> None:
        await _record(batch, _read(schemas, "outcomes", Outcome), outcomes_sink.record_outcomes, dead_letters, backoff)

    # A batch may wait for PostgreSQL as long as it takes: that is no stall.
    decisions = Partitions(app, decisions_topic, on_decisions, stalled_after_s=math.inf)
    outcomes = Partitions(app, outcomes_topic, on_outcomes, stalled_after_s=math.inf)

    @app.agent(app.topic(decisions_topic), name="record-decisions")
    async def record_decisions(stream: StreamT[Any]) -> None:
        await decisions.run(stream)

    @app.agent(app.topic(outcomes_topic), name="record-outcomes")
    async def record_outcomes(stream: StreamT[Any]) -> None:
        await outcomes.run(stream)

    return Recording(decisions, outcomes)


def _read(schemas: Frames, name: str, kind: type[Message]) -> Callable[[Record], Message]:
    def read(record: Record) -> Message:
        message = schemas.unframe(name, record.value)
        assert isinstance(message, kind), "one message type stands on this topic"
        return message

    return read


async def _record(
    batch: Batch,
    read: Callable[[Record], Message],
    write: Callable[[Sequence[Message]], Awaitable[Written]],
    dead_letters: DeadLetters,
    backoff: Backoff,
) -> None:
    """One transaction for the batch; returns once PostgreSQL has it and every refused record is a dead letter."""
    refusals: list[Refusal] = []
    taken: list[Record] = []
    messages: list[Message] = []
    for record in batch.records:
        try:
            messages.append(read(record))
        except BadFrame as bad:
            refusals.append(Refusal(record, bad.reason, bad.detail))
        else:
            taken.append(record)
    written = await until_done(lambda: write(messages), on=Unreachable, what="postgres", backoff=backoff)
    refusals += [Refusal(taken[item.index], "unstorable", item.detail) for item in written.refused]
    await dead_letters.refuse(refusals)
